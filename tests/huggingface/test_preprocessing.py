"""What transformers' processor and tokenizer make of pictures and texts, made with NumPy and Pillow alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.bundle.pictures import preprocessing_of
from perceiver_edge.config import InputSpec
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import Pictures, Text, _opened, from_dict, to_dict

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
PICTURES = Path(__file__).parents[1] / "golden" / "huggingface_pictures.npz"
"""Every 16th pixel of what transformers 5.24's PerceiverImageProcessorPil makes of `waves`, by height × width."""


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    colours = 120 * np.sin(x / 9) * np.cos(y / 7), 100 * np.sin((x + y) / 11), 120 * np.cos(x / 5)
    return np.stack([127 + colour for colour in colours], -1).astype(np.uint8)


@pytest.mark.parametrize("size", [(300, 401), (500, 333), (100, 100), (257, 256)], ids=str)
def test_pictures_are_cropped_and_then_resized(size):
    with np.load(PICTURES) as pictures:
        expected = pictures[f"{size[0]}x{size[1]}"]
    made = Pictures(size=(224, 224), channels=3, resize="crop", **IMAGENET)(waves(*size))
    np.testing.assert_allclose(made[::16, ::16], expected, atol=1e-6)
    other = Pictures(size=(224, 224), channels=3, resize="cover", **IMAGENET)(waves(*size))
    assert np.abs(other[::16, ::16] - expected).max() > 0.1  # the usual way is another


def test_texts_are_bytes_and_special_symbols():
    """Ids of transformers' PerceiverTokenizer."""
    made = Text(length=24)("Grüße, 世界!")
    ids = [4, 77, 120, 201, 194, 201, 165, 107, 50, 38, 234, 190, 156, 237, 155, 146, 39, 5]
    assert made["input"].tolist() == ids + [0] * 6
    assert made["mask"].tolist() == [True] * 18 + [False] * 6
    assert (made["input"].dtype, made["mask"].dtype) == (np.int32, np.bool_)


@pytest.mark.parametrize(
    ("text", "ids"),
    [("a [MASK] b", [4, 103, 38, 3, 38, 104, 5]), ("[MASK][MASK]", [4, 3, 3, 5]), ("[[MASK]]", [4, 97, 3, 99, 5]),
     ("x[CLS]y [SEP]", [4, 126, 4, 127, 38, 5, 5]), ("[BOS]a[EOS]", [4, 1, 103, 2, 5]),
     ("[mask] [MASK", [4, 97, 115, 103, 121, 113, 99, 38, 97, 83, 71, 89, 81, 5])],
)  # fmt: skip
def test_special_symbols_that_a_text_names_are_one_symbol(text, ids):
    """Ids of transformers' PerceiverTokenizer."""
    made = Text(length=24)(text)
    assert made["input"][made["mask"]].tolist() == ids


@pytest.mark.parametrize("text", ["x" * 23, "ü" * 12, 7, "half a pair: \ud800"])
def test_a_text_that_does_not_fit_says_so(text):
    with pytest.raises(BadInputError):
        Text(length=24)(text)


@pytest.mark.parametrize(
    "preprocessing", [Text(length=9), Pictures(size=(8, 9), channels=3, resize="crop", **IMAGENET)]
)
def test_it_survives_the_manifest(preprocessing):
    assert from_dict(to_dict(preprocessing)) == preprocessing


PICTURE = to_dict(Pictures(size=(8, 9), channels=3, **IMAGENET))


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "smells"}, PICTURE | {"resize": "fit"}, PICTURE | {"resize": {}}, PICTURE | {"size": [8]},
        PICTURE | {"size": [8, 0]}, PICTURE | {"channels": 2}, PICTURE | {"mean": [0.1, 0.2]}, PICTURE | {"std": None},
        {"kind": "text", "length": "9"}, {"kind": "text", "length": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_unknown_is_an_error(values):
    with pytest.raises(BadInputError, match="preprocessing"):
        from_dict(values)


def test_decoding_leaves_what_others_say_of_warnings_alone(tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (8, 9)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        with _opened(tmp_path / "a.png"):
            warnings.simplefilter("error", ResourceWarning)  # another thread, meanwhile
        assert ("error", None, ResourceWarning, None, 0) in warnings.filters


@pytest.mark.parametrize("number", [10**400, "a", None, [1]])
def test_what_is_no_float_is_refused_when_it_is_read(number):
    values = to_dict(Pictures(size=(2, 2), channels=1, mean=(0.0,), std=(1.0,), resize="squash"))
    for name in ("mean", "std"):
        with pytest.raises(BadInputError, match="preprocessing is not usable"):
            from_dict({**values, name: [number]})


def test_the_bundle_says_it(named_case):
    text, image = named_case("masked_lm").config, named_case("fourier").config
    assert preprocessing_of(text, InputSpec(shape=(40,))) == Text(length=40)
    spec = InputSpec(shape=(30, 26), image_mean=(0.5,), image_std=(0.5,), resize="crop")
    assert preprocessing_of(image, spec).resize == "crop"
    assert preprocessing_of(image, InputSpec(shape=(30, 26))) is None
    assert preprocessing_of(named_case("flow").config, InputSpec(shape=(16, 24))) is None
