"""Samples from a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.folder import IMAGE_SUFFIXES, find_pictures
from perceiver_edge.calibration.labels import folders_as_classes
from perceiver_edge.calibration.samples import INPUT, IndexedSource, Sample
from perceiver_edge.errors import BadInputError, counted
from perceiver_edge.files.preprocessing import Pictures

_KEPT_BYTES = 256 << 20
"""Of decoded pictures: each is read to tell it from others and read again to be used, and decoding takes longest."""


class ImageFolder(IndexedSource):
    """The pictures in a folder and the folders in it, sorted by name; see `folder.find_pictures`.

    A picture is turned upright (EXIF), made grey or RGB, and scaled to the model's input; pixels become
    (pixel / 255 - mean) / std. See `preprocessing.Pictures`. Folders in it name classes: see
    `labels.folders_as_classes`.

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
        if len(shape) != 3 or shape[-1] not in (1, 3):
            raise BadInputError(
                "A folder of pictures does not fit this model.",
                expected=f"samples of shape {list(shape)}",
                got="pictures, which are [height, width, 1 or 3]",
                where=folder,
                fix="Pass a .npy or .npz file, or package.module:function.",
            )
        _require_per_channel("image_mean", image_mean, shape[2])
        _require_per_channel("image_std", image_std, shape[2])
        self._fit = Pictures(size=shape[:2], channels=shape[2], mean=image_mean, std=image_std, resize=resize)
        self._pixels: dict[int, NDArray[np.uint8]] = {}
        self._has_lost_colour = False
        self._paths, left_out = find_pictures(folder)
        super().__init__(f"{folder} ({left_out})" if left_out else str(folder))
        self.keys = [path.relative_to(folder).as_posix() for path in self._paths]
        if self._paths and (classes := folders_as_classes(folder, self._paths)) is not None:
            self.label_names, self.labels = classes
        if left_out:
            self.notices = (f"{counted(len(self._paths), 'picture')} in {folder}; {left_out}.",)
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
            pixels = self._fit.pixels(self._paths[index])
            if not self._has_lost_colour and self._fit.loses_colour(self._paths[index]):
                self._has_lost_colour = True
                told = f"Pictures are stored in colour, such as {self._paths[index]}; the model is fed them in grey."
                self.notices = (*self.notices, told)
            if (len(self._pixels) + 1) * pixels.nbytes <= _KEPT_BYTES:
                self._pixels[index] = pixels
        return {INPUT: self._fit.normalised(pixels)}


def _require_per_channel(name: str, values: tuple[float, ...], channels: int) -> None:
    if len(values) not in (1, channels):
        raise BadInputError(f"{name} does not fit the model.", expected=f"1 or {channels} numbers", got=values)
