"""Samples from a folder of pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.folder import IMAGE_SUFFIXES, find_pictures
from perceiver_edge.calibration.samples import INPUT, IndexedSource, Sample
from perceiver_edge.errors import BadInputError, MissingExtraError

_KEPT_BYTES = 256 << 20
"""Of decoded pictures: each is read to tell it from others and read again to be used, and decoding takes longest."""

_MODE_OF_CHANNELS = {1: "L", 3: "RGB"}


RESIZE: dict[str, float | None] = {"cover": 1.0, "shortest": 7 / 8, "squash": None}
"""How a picture gets the input's size: from the largest box of the input's shape about its centre, times this; or from
the whole."""

MOST_PIXELS = 1 << 27
"""Of one picture as it is in the file: more than any phone's camera takes. Unpacked it is a gigabyte, turned and made
RGB some more, and a file of 1,600 bytes may ask for that."""


class ImageFolder(IndexedSource):
    """The pictures in a folder and the folders in it, sorted by name; see `folder.find_pictures`.

    A picture is turned upright (EXIF), made grey or RGB, and scaled to the model's input by one of `RESIZE`; pixels
    become (pixel / 255 - mean) / std. Of several frames the first is used.

    Raises:
        BadInputError: no pictures, a damaged or a gigantic one, or a model that is not fed images.
    """

    are_pictures = True

    def __init__(
        self,
        folder: Path,
        *,
        shape: tuple[int, ...],
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        resize: str = "cover",
    ) -> None:
        if len(shape) != 3 or shape[-1] not in _MODE_OF_CHANNELS:
            raise BadInputError(
                "A folder of pictures does not fit this model.",
                expected=f"samples of shape {list(shape)}",
                got="pictures, which are [height, width, 1 or 3]",
                where=folder,
                fix="Pass a .npy or .npz file, or package.module:function.",
            )
        self._size = shape[:2]
        self._mode = _MODE_OF_CHANNELS[shape[2]]
        self._kept_share = RESIZE[resize]
        self._mean = _per_channel("image_mean", image_mean, shape[2])
        self._std = _per_channel("image_std", image_std, shape[2])
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._paths, left_out = find_pictures(folder)
        super().__init__(f"{folder} ({left_out})" if left_out else str(folder))
        if left_out:
            self.notices = (f"{len(self._paths)} pictures in {folder}; {left_out}.",)
        if not self._paths:
            raise BadInputError(
                "There are no pictures in the folder.",
                expected=", ".join(sorted(IMAGE_SUFFIXES)),
                got=left_out or "no files",
                where=folder,
            )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Sample:
        pixels = self._pixels.get(index)
        if pixels is None:
            pixels = _read_pixels(self._paths[index], mode=self._mode, size=self._size, kept_share=self._kept_share)
            if (len(self._pixels) + 1) * pixels.nbytes <= _KEPT_BYTES:
                self._pixels[index] = pixels
        return {INPUT: (pixels.astype(np.float32) / np.float32(255) - self._mean) / self._std}


def _read_pixels(path: Path, *, mode: str, size: tuple[int, ...], kept_share: float | None) -> NDArray[np.uint8]:
    """uint8 [height, width, channels]."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise MissingExtraError("pillow", "convert") from error
    height, width = size
    try:
        with warnings.catch_warnings():
            # Pillow warns of half of what it refuses; our own limit lies between, and is checked before decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _require_usable(image)
                upright = ImageOps.exif_transpose(image)
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        channels = upright.convert(mode)
        if kept_share is None:
            fitted = channels.resize((width, height), Image.Resampling.BILINEAR)
        else:
            border = (1 - kept_share) / 2
            fitted = ImageOps.fit(channels, (width, height), method=Image.Resampling.BILINEAR, bleed=border)
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
        raise _unreadable(path, error) from error
    return np.asarray(fitted, dtype=np.uint8).reshape(height, width, -1)


def _require_usable(image: Any) -> None:
    """Raises ValueError for what would be decoded wrongly, or into gigabytes."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels, more than {MOST_PIXELS:,}")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"more than 8 bits a channel (mode {image.mode})")  # convert() would clip it to white


def _unreadable(path: Path, error: Exception) -> BadInputError:
    return BadInputError(
        "A picture cannot be read.",
        expected="a whole picture with 8 bits a channel",
        got=error,
        where=path,
        fix="Repair or remove this file.",
    )


def _per_channel(name: str, values: tuple[float, ...], channels: int) -> NDArray[np.float32]:
    if len(values) not in (1, channels):
        raise BadInputError(f"{name} does not fit the model.", expected=f"1 or {channels} numbers", got=values)
    return np.asarray(values, dtype=np.float32)
