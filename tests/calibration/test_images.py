"""A folder of pictures: which are read, how they become model input, what damaged ones are told."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.calibration import images, open_source, split
from perceiver_edge.calibration.folder import find_pictures
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import Pictures

Image = pytest.importorskip("PIL.Image")


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def plain(value: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def inputs(folder: Path, shape: tuple[int, ...] = (8, 8, 3), **normalisation: tuple[float, ...]) -> list[np.ndarray]:
    return [sample["input"] for sample in open_source(str(folder), shape=shape, **normalisation)]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".bmp", ".webp"])
def test_every_kind_of_picture(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", plain(51))
    (read,) = inputs(tmp_path)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, 0.2, atol=2 / 255)


def test_sorted_by_name_with_subfolders_and_without_what_is_hidden_or_no_picture(tmp_path: Path) -> None:
    for name, value in {"c.png": 30, "a.png": 10, "b/x.png": 20, ".hidden.png": 90, ".cache/y.png": 91}.items():
        save(tmp_path / name, plain(value))
    (tmp_path / "notes.txt").write_text("no picture")
    assert [round(float(read[0, 0, 0] * 255)) for read in inputs(tmp_path)] == [10, 20, 30]


def test_mean_and_std_of_each_channel(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain(0) + np.uint8([255, 51, 0]))
    (read,) = inputs(tmp_path, image_mean=(0.5, 0.2, 0.1), image_std=(0.5, 1.0, 0.1))
    np.testing.assert_allclose(read[3, 3], [1.0, 0.0, -1.0], atol=1e-6)


def test_the_shorter_side_fits_and_the_centre_is_kept(tmp_path: Path) -> None:
    wide = plain(0, height=16, width=48)
    wide[:, 16:32] = 255
    save(tmp_path / "wide.png", wide)
    save(tmp_path / "tall.png", wide.transpose(1, 0, 2))
    for read in inputs(tmp_path):
        assert read.shape == (8, 8, 3)
        assert read.min() > 0.8  # the filter sees a little of the black beside the crop
        np.testing.assert_allclose(read[1:-1, 1:-1], 1.0)


def test_height_and_width_are_not_confused(tmp_path: Path) -> None:
    left_half = plain(0, height=4, width=10)
    left_half[:, :5] = 255
    save(tmp_path / "a.png", left_half)
    (read,) = inputs(tmp_path, (4, 10, 3))
    np.testing.assert_array_equal(read, left_half / np.float32(255))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = plain(0)
    pixels[:4] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    (read,) = inputs(tmp_path)
    assert read[0].max() == 0
    assert read[7].min() == 1


def test_grey_for_one_channel(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain(102))
    (read,) = inputs(tmp_path, (8, 8, 1))
    assert read.shape == (8, 8, 1)
    np.testing.assert_allclose(read, 0.4, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.fromarray(plain(255)).convert(mode).save(tmp_path / f"a.{suffix}")
    np.testing.assert_allclose(inputs(tmp_path)[0], 1.0, atol=2 / 255)


def test_16_bit_pictures_are_refused_rather_than_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BadInputError, match="8 bits") as caught:
        inputs(tmp_path)
    assert "deep.png" in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_picture_is_named(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "a.png", plain(0))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    save(tmp_path / "broken.png", noise)
    whole = (tmp_path / "broken.png").read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"not a picture"}[damage]
    (tmp_path / "broken.png").write_bytes(damaged)
    with pytest.raises(BadInputError, match="cannot be read") as caught:
        inputs(tmp_path)
    assert "broken.png" in str(caught.value)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no pictures"):
        inputs(tmp_path)


@pytest.mark.parametrize("shape", [(100, 3), (8, 8, 2), (4, 8, 8, 3)])
def test_a_model_that_is_not_fed_pictures(tmp_path: Path, shape: tuple[int, ...]) -> None:
    save(tmp_path / "a.png", plain(0))
    with pytest.raises(BadInputError, match="does not fit this model"):
        inputs(tmp_path, shape)


def test_a_mean_that_does_not_fit_the_channels(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain(0))
    with pytest.raises(BadInputError, match="image_mean"):
        inputs(tmp_path, (8, 8, 1), image_mean=(0.1, 0.2, 0.3))


def test_a_picture_that_changed_since_it_was_chosen_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_KEPT_BYTES", 0)
    for value in (0, 100):
        save(tmp_path / f"{value}.png", plain(value))
    source = images.ImageFolder(tmp_path, shape=(8, 8, 3), image_mean=(0.0,), image_std=(1.0,))
    part, _ = split(source, num_calibration=1, num_held_out=1, seed=0)
    for value in (0, 100):
        save(tmp_path / f"{value}.png", plain(value + 1))
    with pytest.raises(BadInputError, match="has changed"):
        list(part)


def test_a_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (0, 100):
        save(tmp_path / f"{value}.png", plain(value))
    decoded = []
    read = images.Pictures.pixels
    monkeypatch.setattr(images.Pictures, "pixels", lambda fit, path: decoded.append(path) or read(fit, path))
    source = images.ImageFolder(tmp_path, shape=(8, 8, 3), image_mean=(0.0,), image_std=(1.0,))
    parts = split(source, num_calibration=1, num_held_out=1, seed=0)
    assert [len(list(part)) for part in parts * 2] == [1] * 4
    assert len(decoded) == 2


def test_links_to_folders_are_followed_and_each_loop_ends(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/cats/a.png", plain(10))
    (tmp_path / "data/dogs").mkdir(parents=True)
    save(tmp_path / "data/dogs/b.png", plain(20))
    (tmp_path / "data/cats").symlink_to(tmp_path / "elsewhere/cats")
    (tmp_path / "data/dogs/again").symlink_to(tmp_path / "data")
    (tmp_path / "data/c.png").symlink_to(tmp_path / "elsewhere/cats/a.png")
    (tmp_path / "data/itself.png").symlink_to("itself.png")
    values = [round(float(read[0, 0, 0] * 255)) for read in inputs(tmp_path / "data")]
    assert values == [10, 10, 20]  # c.png, cats/a.png, dogs/b.png


def test_folders_that_link_to_each_other_multiply_no_pictures(tmp_path: Path) -> None:
    names = "abcdefg"
    for number, name in enumerate(names):
        save(tmp_path / f"all/{name}/{name}.png", plain(number))
    for name, other in itertools.permutations(names, 2):
        (tmp_path / "all" / name / f"0 to {other}").symlink_to(tmp_path / "all" / other)
    below, _ = find_pictures(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in below] == [f"all/{name}/{name}.png" for name in names]
    beside, _ = find_pictures(tmp_path / "all")
    assert len(beside) == len(names) ** 2  # each folder is a class, with all that it links to


def test_folders_count_among_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perceiver_edge.calibration.folder.MOST_FILES", 5)
    (tmp_path / "a/b/c/d/e/f").mkdir(parents=True)
    with pytest.raises(BadInputError, match="too many files"):
        find_pictures(tmp_path)


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".ppm", ".JFIF"])
def test_other_kinds_of_pictures_are_read(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(plain(51)).save(tmp_path / f"a{suffix}")
    (read,) = inputs(tmp_path)
    np.testing.assert_allclose(read, 0.2, atol=2 / 255)


def test_what_is_left_out_is_counted_and_said(tmp_path: Path) -> None:
    save(tmp_path / "a.png", plain(10))
    for name in ("a.heic", "b.heic", "c.HEIC", "notes.txt", "README", ".DS_Store"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(str(tmp_path), shape=(8, 8, 3))
    (notice,) = source.notices
    assert "6 files left out: 3 .heic, 1 without suffix, 1 .txt, 1 that lead nowhere" in notice
    assert "6 files left out" in source.description


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pictures_in_memory_are_as_those_in_files(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, channels), np.uint8)
    image = Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)
    image.save(tmp_path / "a.png")
    assert image.mode == mode
    fit = Pictures(size=(8, 8), channels=channels, mean=(0.5,), std=(0.5,))
    for picture in (pixels, image, tmp_path / "a.png"):
        np.testing.assert_array_equal(fit(picture), fit(image))
        assert fit(picture).shape == (8, 8, channels)


@pytest.mark.parametrize(
    ("channels", "modes", "told"), [(1, ["L", "RGB", "P"], "b.png"), (1, ["L", "LA"], None), (3, ["RGB", "L"], None)]
)
def test_colour_that_a_grey_model_does_not_see_is_said_once(tmp_path, channels, modes, told) -> None:
    for name, mode in zip("abc", modes, strict=False):
        Image.fromarray(plain(10)).convert(mode).save(tmp_path / f"{name}.png")
    source = open_source(str(tmp_path), shape=(8, 8, channels))
    for _ in range(2):
        list(source)
    assert len(source.notices) == (told is not None)
    assert told is None or (told in source.notices[0] and "in grey" in source.notices[0])


def test_an_empty_folder_says_what_it_has_instead(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_text("no picture")
    with pytest.raises(BadInputError, match=r"1 file left out: 1 \.heic"):
        inputs(tmp_path)


def test_squash_keeps_the_whole_picture_and_shortest_the_middle(tmp_path: Path) -> None:
    wide = plain(0, height=16, width=64)
    wide[:, 32:] = 255
    save(tmp_path / "wide.png", wide)
    (squashed,) = inputs(tmp_path, resize="squash")
    np.testing.assert_allclose(squashed[:, :3], 0, atol=0.01)
    np.testing.assert_allclose(squashed[:, 5:], 1, atol=0.01)
    framed = plain(0, height=64, width=64)
    framed[3:-3, 3:-3] = 255  # a border of a sixteenth, 4, is cut away
    save(tmp_path / "b/framed.png", framed)
    (kept,) = inputs(tmp_path / "b", resize="shortest")
    assert kept.min() > 0.85  # the filter sees a little of the border
    (covered,) = inputs(tmp_path / "b", resize="cover")
    assert covered[0, 0, 0] < 0.6


def test_shortest_is_torchvisions_resize_and_centre_crop(tmp_path: Path) -> None:
    """Resize(256) and CenterCrop(224) at the same ratio: 64 and 56, to the rounding of two steps instead of one."""
    smooth = np.kron(np.random.default_rng(0).integers(0, 256, (8, 12, 3)), np.ones((32, 32, 1))).astype(np.uint8)
    save(tmp_path / "a.png", smooth)
    (read,) = inputs(tmp_path, (56, 56, 3), resize="shortest")
    resized = Image.fromarray(smooth).resize((96, 64), Image.Resampling.BILINEAR).crop((20, 4, 76, 60))
    assert np.abs(read - np.asarray(resized) / 255).mean() < 0.01


def test_a_picture_of_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    for side, says in ((12_000, "12000 × 12000 pixels"), (20_000, "decompression bomb")):  # ours, then Pillow's own
        Image.new("1", (side, side)).save(tmp_path / "bomb.png")
        with pytest.raises(BadInputError, match=says):
            inputs(tmp_path)
