"""The embedded default: 1,797 real handwritten digits (see CREDITS.md) and a small Perceiver trained on them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGITS_CHECKPOINT = Path(__file__).parent / "digits"
"""The trained digits Perceiver: ``config.json``, ``model.safetensors`` and its model card."""

DIGITS_ARCHIVE = Path(__file__).parent / "digits.npz"
"""``images`` uint8 [1797, 8, 8] in 0..16, ``labels`` uint8 [1797], ``split`` uint8 [1797]: an index into `SPLITS`."""

SPLITS = ("train", "calibration", "test")

_FULL_INK = 16  # the largest value of a pixel in the original data
_IMAGE_SIZE = 32


@dataclass(frozen=True)
class Split:
    """``images`` float32 [n, 32, 32, 1] in [0, 1] (1 is ink) and ``labels`` int64 [n] in 0..9."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Three disjoint parts with the same share of each digit: 1,309 to learn, 128 to calibrate, 360 to test."""

    train: Split
    calibration: Split
    test: Split


def load_digits() -> Digits:
    """The digits, upsampled to 32x32. Which picture is in which split is written in the archive, so it never moves."""
    with np.load(DIGITS_ARCHIVE, allow_pickle=False) as archive:
        images = upsample(archive["images"], _IMAGE_SIZE)
        labels, split = archive["labels"].astype(np.int64), archive["split"]
    parts = {name: split == number for number, name in enumerate(SPLITS)}
    return Digits(**{name: Split(images[chosen], labels[chosen]) for name, chosen in parts.items()})


def upsample(images: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Bilinear, [n, h, w] in 0..16 to [n, size, size, 1] in [0, 1].

    Pixel centres lie at (i + 1/2) / length and the border repeats, as in ``tf.image.resize``. From 8 to 32 every
    weight is a multiple of 1/8, so the result is exact in float32 and the same on every machine.
    """
    rows, columns = (_interpolation(length, size) for length in images.shape[1:])
    scaled = images.astype(np.float32) / _FULL_INK
    return (rows @ scaled @ columns.T)[..., np.newaxis].astype(np.float32, copy=False)


def _interpolation(length: int, size: int) -> NDArray[np.float32]:
    """The [size, length] matrix that resamples an axis linearly."""
    positions = (np.arange(size) + 0.5) * length / size - 0.5
    columns = [np.interp(positions, np.arange(length), unit) for unit in np.eye(length)]
    return np.stack(columns, axis=1).astype(np.float32)
