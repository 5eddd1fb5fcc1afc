"""Samples from a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.samples import INPUT, IndexedSource, Sample
from perceiver_edge.errors import BadInputError, MissingExtraError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}

_KEPT_BYTES = 256 << 20
"""Of decoded pictures: each is read to tell it from others and read again to be used, and decoding takes longest."""

_MODE_OF_CHANNELS = {1: "L", 3: "RGB"}


class ImageFolder(IndexedSource):
    """The pictures in a folder and the folders in it, sorted by name; hidden ones are left out.

    A picture is turned upright (EXIF), made grey or RGB, scaled so that it covers the model's input and cropped about
    its centre; pixels become (pixel / 255 - mean) / std.

    Raises:
        BadInputError: no pictures, a damaged one, or a model that is not fed images.
    """

    def __init__(
        self, folder: Path, *, shape: tuple[int, ...], image_mean: tuple[float, ...], image_std: tuple[float, ...]
    ) -> None:
        super().__init__(str(folder))
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
        self._mean = _per_channel("image_mean", image_mean, shape[2])
        self._std = _per_channel("image_std", image_std, shape[2])
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._paths = sorted(path for path in folder.rglob("*") if _is_image(path.relative_to(folder), path))
        if not self._paths:
            raise BadInputError(
                "There are no pictures in the folder.",
                expected=", ".join(sorted(IMAGE_SUFFIXES)),
                where=folder,
            )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Sample:
        pixels = self._pixels.get(index)
        if pixels is None:
            pixels = _read_pixels(self._paths[index], mode=self._mode, size=self._size)
            if (len(self._pixels) + 1) * pixels.nbytes <= _KEPT_BYTES:
                self._pixels[index] = pixels
        return {INPUT: (pixels.astype(np.float32) / np.float32(255) - self._mean) / self._std}


def _is_image(relative: Path, path: Path) -> bool:
    hidden = any(part.startswith(".") for part in relative.parts)
    return relative.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _read_pixels(path: Path, *, mode: str, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 [height, width, channels]."""
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise MissingExtraError("pillow", "convert") from error
    height, width = size
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"more than 8 bits a channel (mode {image.mode})")  # convert() would clip it to white
            upright = ImageOps.exif_transpose(image)
            if "transparency" in upright.info:
                upright = upright.convert("RGBA")
            fitted = ImageOps.fit(upright.convert(mode), (width, height), method=Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
        raise _unreadable(path, error) from error
    return np.asarray(fitted, dtype=np.uint8).reshape(height, width, -1)


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
