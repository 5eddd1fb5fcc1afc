"""What can be passed as calibration data, and what each kind of bad data is told."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.calibration import ArraySource, as_source, open_source
from perceiver_edge.errors import BadInputError

SHAPE = (4, 6, 3)


def floats(count: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float32)


def only(path: Path, *words: str, shape: tuple[int, ...] = SHAPE) -> None:
    """Reading the source at `path` is one error that contains all the words."""
    with pytest.raises(BadInputError) as caught:
        list(open_source(str(path), shape=shape))
    for word in words:
        assert word in str(caught.value)


class TestNpy:
    def test_rows_are_the_samples(self, tmp_path: Path) -> None:
        values = floats(3)
        np.save(tmp_path / "a.npy", values)
        for _ in range(2):  # it can be read again
            read = list(open_source(str(tmp_path / "a.npy"), shape=SHAPE))
            np.testing.assert_array_equal([sample["input"] for sample in read], values)
            assert read[0]["input"].dtype == np.float32

    def test_it_is_mapped_not_read(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", floats(3))
        source = open_source(str(tmp_path / "a.npy"), shape=SHAPE)
        assert isinstance(source, ArraySource)
        assert isinstance(source._arrays["input"], np.memmap)

    def test_float64_is_cast(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", floats(2).astype(np.float64))
        assert next(iter(open_source(str(tmp_path / "a.npy"), shape=SHAPE)))["input"].dtype == np.float32

    def test_bytes_are_not_scaled_silently(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, *SHAPE), np.uint8))
        only(tmp_path / "a.npy", "uint8", "(pixels / 255 - mean) / std")

    @pytest.mark.parametrize("shape", [(3, 4, 6), (3, 3, 4, 6), (3, 4, 6, 1), ()])
    def test_a_wrong_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
        only(tmp_path / "a.npy", "a.npy")

    def test_empty(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((0, *SHAPE), np.float32))
        only(tmp_path / "a.npy", "no samples")

    @pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
    def test_a_value_that_is_not_finite_names_the_sample(self, tmp_path: Path, bad: float, word: str) -> None:
        values = floats(5)
        values[3, 1, 1, 1] = bad
        np.save(tmp_path / "a.npy", values)
        only(tmp_path / "a.npy", word, "a.npy, sample 3, input 'input'")

    def test_float64_too_large_for_float32(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.full((1, *SHAPE), 1e300))
        only(tmp_path / "a.npy", "infinity", "sample 0")

    def test_damaged(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", floats(5))
        data = (tmp_path / "a.npy").read_bytes()
        for damaged in (b"", data[:40], data[:-100], b"x" + data[1:]):
            (tmp_path / "a.npy").write_bytes(damaged)
            only(tmp_path / "a.npy", "cannot be read", "a.npy")

    def test_an_archive_under_this_name(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", input=floats(5))
        (tmp_path / "a.npz").rename(tmp_path / "a.npy")
        only(tmp_path / "a.npy", "archive of arrays", "a.npy")

    def test_pickled_objects_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
        only(tmp_path / "a.npy", "cannot be read")


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_keyed_by_input_name(self, tmp_path: Path, save) -> None:
        values, mask = np.asfortranarray(floats(3)), np.arange(3 * 24).reshape(3, 4, 6) % 5 > 0
        save(tmp_path / "a.npz", input=values, mask=mask, labels=np.int32([2, 0, 1]))
        source = open_source(str(tmp_path / "a.npz"), shape=SHAPE)
        for index, sample in enumerate(source):
            np.testing.assert_array_equal(sample["input"], values[index])
            np.testing.assert_array_equal(sample["mask"], mask[index])
        assert source.labels is not None
        assert source.labels.tolist() == [2, 0, 1]
        assert source.labels.dtype == np.int64

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"image": floats(2)}, ["'image'", "'input'"]),
            ({"input": floats(2), "extra": floats(2)}, ["'extra'"]),
            ({"input": floats(2), "mask": np.ones((3, 4, 6), bool)}, ["number of samples"]),
            ({"input": floats(2), "mask": np.ones((2, 4, 6), np.float32)}, ["mask", "bool"]),
            ({"input": floats(2), "mask": np.ones((2, 4), bool)}, ["'mask'", "wrong shape"]),
            ({"input": floats(2), "labels": np.float32([0, 1])}, ["labels", "integers"]),
            ({"input": floats(0)}, ["no samples"]),
            ({}, ["'input'"]),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path: Path, arrays: dict[str, np.ndarray], words: list[str]) -> None:
        np.savez(tmp_path / "a.npz", **arrays)
        only(tmp_path / "a.npz", "a.npz", *words)

    def test_damaged(self, tmp_path: Path) -> None:
        np.savez_compressed(tmp_path / "a.npz", input=floats(5))
        data = bytearray((tmp_path / "a.npz").read_bytes())
        flipped = data.copy()
        flipped[len(flipped) // 2] ^= 0xFF
        for damaged in (b"", data[:-30], flipped):
            (tmp_path / "a.npz").write_bytes(damaged)
            only(tmp_path / "a.npz", "cannot be read")


class TestFunction:
    @pytest.fixture(autouse=True)
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "my_samples.py").write_text(
            "import numpy as np\n"
            "number = 3\n"
            "def good():\n    return (np.full((4, 6, 3), i, np.float32) for i in range(3))\n"
            "def named():\n    yield {'input': np.zeros((4, 6, 3)), 'mask': np.ones((4, 6), bool)}\n"
            "def fails():\n    yield np.zeros((4, 6, 3))\n    raise KeyError('lost')\n"
            "def batched():\n    yield np.zeros((1, 4, 6, 3))\n"
            "def ragged():\n    yield [[1.0], [2.0, 3.0]]\n"
            "def mixed():\n    yield np.zeros((4, 6, 3))\n"
            "    yield {'input': np.zeros((4, 6, 3)), 'mask': np.ones((4, 6), bool)}\n"
            "def nothing():\n    return []\n"
            "def forgot():\n    pass\n"
        )
        (tmp_path / "broken_samples.py").write_text("import no_such_library\n")
        monkeypatch.chdir(tmp_path)
        before = list(sys.path)
        yield
        assert sys.path == before
        sys.modules.pop("my_samples", None)

    def test_a_function_in_the_current_folder_is_called_for_every_pass(self) -> None:
        source = open_source("my_samples:good", shape=SHAPE)
        for _ in range(2):
            assert [sample["input"].max() for sample in source] == [0, 1, 2]

    def test_mappings_by_input_name(self) -> None:
        (sample,) = open_source("my_samples:named", shape=SHAPE)
        assert sample["mask"].all()

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("my_samples:fails", ["KeyError('lost')", "sample 1"]),
            ("my_samples:batched", ["[4, 6, 3]", "[1, 4, 6, 3]", "sample 0"]),
            ("my_samples:ragged", ["not an array", "sample 0"]),
            ("my_samples:mixed", ["differ in their inputs", "sample 1"]),
            ("my_samples:nothing", ["no samples"]),
            ("my_samples:forgot", ["NoneType"]),
            ("my_samples:number", ["not a function", "int"]),
            ("my_samples:missing", ["cannot be imported", "missing"]),
            ("broken_samples:f", ["no_such_library"]),
            ("no_such_module_here:f", ["no_such_module_here"]),
        ],
    )
    def test_a_function_that_does_not_work(self, name: str, words: list[str]) -> None:
        only(Path(name), *words)


class TestRandom:
    def test_it_says_that_it_is_random(self) -> None:
        assert open_source("random", shape=SHAPE).is_random

    def test_nothing_else_is(self, tmp_path: Path) -> None:
        np.save(tmp_path / "random.npy", floats(2))
        assert not open_source(str(tmp_path / "random.npy"), shape=SHAPE).is_random

    def test_the_seed_decides_and_the_values_look_like_normalised_pixels(self) -> None:
        def first(seed: int) -> np.ndarray:
            source = open_source("random", shape=SHAPE, image_mean=(0.5,), image_std=(0.5,), seed=seed)
            return next(iter(source))["input"]

        np.testing.assert_array_equal(first(1), first(1))
        assert not np.array_equal(first(1), first(2))
        assert -1 <= first(1).min() < -0.8
        assert 0.8 < first(1).max() <= 1


@pytest.mark.parametrize("spec", ["nowhere", "nowhere.npy", "Random", "a:b:c", "module:"])
def test_a_spec_that_is_nothing_lists_what_could_be_passed(spec: str) -> None:
    with pytest.raises(BadInputError, match=re.escape("package.module:function, or 'random'")):
        open_source(spec, shape=SHAPE)


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2")
    only(tmp_path / "a.csv", "a file of another kind")


class TestAsSource:
    @pytest.mark.parametrize("wrap", [np.asarray, list, lambda v: {"input": v}, lambda v: lambda: iter(v), tuple])
    def test_whatever_python_code_has(self, wrap) -> None:
        values = floats(4)
        read = [sample["input"] for sample in as_source(wrap(values), shape=SHAPE)]
        np.testing.assert_array_equal(read, values)

    @pytest.mark.parametrize("wrap", [np.asarray, list])
    def test_labels_stand_beside_the_input_as_in_an_npz(self, wrap) -> None:
        labels = as_source({"input": floats(3), "labels": wrap([1, 2, 3])}, shape=SHAPE).labels
        assert labels is not None
        assert labels.tolist() == [1, 2, 3]

    def test_lists_are_arrays_too(self) -> None:
        values = floats(3)
        read = [sample["input"] for sample in as_source({"input": values.tolist()}, shape=SHAPE)]
        np.testing.assert_array_equal(read, values)

    @pytest.mark.parametrize(
        ("samples", "word"),
        [
            ({"input": [[1.0], [2.0, 3.0]]}, "'input'"),
            ({"input": [[1, 2]]}, "wrong shape"),
            ({"input": floats(2), "labels": 3}, "number of samples"),
            ({"input": floats(2), "labels": ["a", "b"]}, "integers"),
        ],
        ids=["ragged", "shape", "one label", "text"],
    )
    def test_a_mapping_that_does_not_fit(self, samples: dict[str, object], word: str) -> None:
        with pytest.raises(BadInputError, match=word):
            as_source(samples, shape=SHAPE)

    def test_an_iterator_is_refused_because_it_is_empty_the_second_time(self) -> None:
        with pytest.raises(BadInputError, match="only once"):
            as_source(iter(floats(3)), shape=SHAPE)

    @pytest.mark.parametrize("nothing", [None, 3, "text", [], np.zeros((0, *SHAPE), np.float32)])
    def test_nothing_usable(self, nothing: object) -> None:
        with pytest.raises(BadInputError):
            as_source(nothing, shape=SHAPE)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((2, 1, 4, 5), "np.moveaxis(sample, 0, -1)"),
        ((2, 4, 5), "sample[..., np.newaxis]"),
        ((2, 6, 6, 1), "input_shape=(6, 6)"),
    ],
)
def test_a_wrong_shape_says_what_makes_it_right(shape, said):
    with pytest.raises(BadInputError, match="wrong shape") as caught:
        as_source(np.zeros(shape, np.float32), shape=(4, 5, 1))[0]
    assert said in str(caught.value)


class _Failing(list):
    def __getitem__(self, index):
        raise KeyError("lost")


def test_a_sequence_that_fails_is_told_with_its_sample():
    with pytest.raises(BadInputError, match=r"lost(.|\n)*sample 0"):
        next(iter(as_source(_Failing([1, 2]), shape=SHAPE)))


class TestTexts:
    def test_lines_are_bytes_of_utf8_between_two_symbols(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("\ufeffä\r\n\n  \nlonger\n".encode())
        first, second = open_source(str(tmp_path / "a.txt"), shape=(6,), vocabulary=262)
        assert first["input"].tolist() == [4, 0xC3 + 6, 0xA4 + 6, 5, 0, 0]
        assert first["mask"].tolist() == [True] * 4 + [False] * 2
        assert second["input"].tolist() == [4, *(byte + 6 for byte in b"long"), 5]

    @pytest.mark.parametrize(("encoding", "said"), [("latin-1", "0xe4 in line 2"), ("utf-16", "0xff in line 1")])
    def test_another_encoding_is_not_taken_for_bytes_that_the_model_knows(self, encoding, said, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes("one\nä\n".encode(encoding))
        with pytest.raises(BadInputError, match=rf"UTF-8(.|\n)*{said}"):
            open_source(str(tmp_path / "a.txt"), shape=(6,), vocabulary=262)
