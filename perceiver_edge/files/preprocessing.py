"""From a picture or a text to what a model is fed: part of the model, for it was trained on nothing else.

Needs NumPy, and Pillow for pictures. A bundle carries the settings, so a device does what calibration did.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from types import MappingProxyType
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.errors import BadInputError, MissingExtraError

MODE_OF_CHANNELS: Mapping[int, str] = MappingProxyType({1: "L", 3: "RGB"})
"""Pillow's modes of what a model is fed."""

_GREY = {"1", "L", "LA", "La"}
"""Pillow's modes without colour."""

_SPECIAL = (b"[PAD]", b"[BOS]", b"[EOS]", b"[MASK]", b"[CLS]", b"[SEP]")
"""Symbols that are no bytes, in their order, as a text may name them."""

PAD, CLS, SEP = 0, 4, 5
FIRST_BYTE = len(_SPECIAL)
"""What byte 0 becomes."""

_NAMED = re.compile(b"(" + b"|".join(map(re.escape, _SPECIAL)) + b")")

BYTE_VOCABULARY = FIRST_BYTE + 256
"""Symbols of a model whose texts are bytes. One of another vocabulary has a tokenizer that nobody has told us."""

KEPT = Fraction(7, 8)
"""Of a side: what torchvision's ``Resize(256)`` and ``CenterCrop(224)`` keep, and transformers for its Perceivers."""

RESIZE: Mapping[str, Fraction | None] = MappingProxyType(
    {"cover": Fraction(1), "squash": None, "shortest": KEPT, "crop": KEPT}
)
"""How a picture gets the input's size: from the largest box of the input's shape about its centre, times this; or from
the whole (``squash``), each axis scaled for itself. ``crop``: from a centred square of its shorter side times this,
whatever the input's shape is, with bicubic interpolation."""

MOST_PIXELS = 1 << 27
"""Of one picture as it is in the file: more than any phone's camera takes. Unpacked it is a gigabyte, turned and made
RGB some more, and a file of 1,600 bytes may ask for that."""

Picture = Union[str, PathLike, NDArray[np.uint8], Any]
"""A file; uint8 ``[height, width]`` or ``[height, width, channels]``; or an image of Pillow's."""


@dataclass(frozen=True)
class Pictures:
    """How pictures become float32 ``[height, width, channels]``, ``(pixel / 255 - mean) / std``.

    A picture is turned upright (EXIF), made grey or RGB, and scaled by one of `RESIZE`: bilinear, or, for ``crop``,
    bicubic, both with anti-aliasing, as Pillow does it. ``crop`` is what transformers does for its Perceivers. Of
    several frames the first is used.

    Args:
        size: height and width. ``mean``, ``std``: one number, or one a channel.

    Raises:
        BadInputError: none of these.
    """

    size: tuple[int, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "cover"

    def __post_init__(self) -> None:
        are_sizes = len(self.size) == 2 and all(type(size) is int and size >= 1 for size in self.size)
        are_for_channels = {len(self.mean), len(self.std)} <= {1, self.channels}
        if not are_sizes or self.channels not in MODE_OF_CHANNELS or not are_for_channels or self.resize not in RESIZE:
            raise BadInputError(
                "The preprocessing of pictures is not usable.",
                expected=f"[height, width], 1 or 3 channels, mean and std of one or all, {' or '.join(RESIZE)}",
                got=self,
            )

    def __call__(self, picture: Picture) -> NDArray[np.float32]:
        """
        Raises:
            BadInputError: a picture that cannot be read, is gigantic, or has more than 8 bits a channel.
            MissingExtraError: Pillow is not installed.
        """
        return self.normalised(self.pixels(picture))

    def pixels(self, picture: Picture) -> NDArray[np.uint8]:
        """The picture in the model's size, uint8 ``[height, width, channels]``. Raises as a call does."""
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise MissingExtraError("pillow", "convert") from error
        is_file = isinstance(picture, (str, PathLike))
        try:
            if isinstance(picture, np.ndarray):
                is_grey = picture.ndim == 3 and picture.shape[2] == 1  # Pillow knows no axis of one channel
                return self._fitted(Image.fromarray(picture[..., 0] if is_grey else picture))
            if not is_file:
                return self._fitted(picture)
            with _opened(picture) as image:
                return self._fitted(image)
        except Exception as error:  # Pillow's decoders raise a dozen types for damaged files
            raise BadInputError(
                "A picture cannot be read.",
                expected="a whole picture with 8 bits a channel",
                got=error,
                where=picture if is_file else None,
                fix="Repair or remove this file." if is_file else "Pass a file, an image of Pillow's or a uint8 array.",
            ) from error

    def loses_colour(self, picture: str | PathLike) -> bool:
        """Whether a readable file is stored in colour, and the model is fed grey. Nothing is decoded."""
        if self.channels != 1:
            return False
        with _opened(picture) as image:
            return image.mode not in _GREY

    def normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean, std = (np.asarray(values, np.float32) for values in (self.mean, self.std))
        return (pixels.astype(np.float32) / np.float32(255) - mean) / std

    def _fitted(self, image: Any) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        _require_usable(image)
        upright = ImageOps.exif_transpose(image)
        if "transparency" in upright.info:
            upright = upright.convert("RGBA")
        channels = upright.convert(MODE_OF_CHANNELS[self.channels])
        (height, width), share = self.size, RESIZE[self.resize]
        bilinear, bicubic = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
        if share is None:
            fitted = channels.resize((width, height), bilinear)
        elif self.resize == "crop":
            side = int(share * min(channels.size))
            left, top = ((length - side) // 2 for length in channels.size)
            fitted = channels.crop((left, top, left + side, top + side)).resize((width, height), bicubic)
        else:
            fitted = ImageOps.fit(channels, (width, height), method=bilinear, bleed=float((1 - share) / 2))
        return np.asarray(fitted, dtype=np.uint8).reshape(height, width, -1)


@contextmanager
def _opened(picture: str | PathLike) -> Iterator[Any]:
    from PIL import Image

    # Pillow warns of half of what it refuses; our own limit lies between, and is checked before decoding. Said once for
    # the process: `catch_warnings` around each picture would undo what other threads say meanwhile.
    if ("ignore", None, Image.DecompressionBombWarning, None, 0) not in warnings.filters:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    with Image.open(picture) as image:
        yield image


def _require_usable(image: Any) -> None:
    """Raises ValueError for what would be decoded wrongly, or into gigabytes."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width} × {image.height} pixels, more than {MOST_PIXELS:,}")
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"more than 8 bits a channel (mode {image.mode})")  # convert() would clip it to white


@dataclass(frozen=True)
class Text:
    """How texts become integers: CLS, the bytes of UTF-8 plus `FIRST_BYTE`, SEP; then PAD up to ``length``.

    A special symbol that the text names, such as ``[MASK]``, becomes that one symbol, as transformers does it.
    """

    length: int

    def __post_init__(self) -> None:
        if type(self.length) is not int or self.length < 2:
            raise BadInputError("The preprocessing of texts is not usable.", expected="a length from 2", got=self)

    def __call__(self, text: str | bytes) -> dict[str, NDArray[Any]]:
        """``input`` int32 ``[length]``, and ``mask`` bool ``[length]``: True where there is no PAD.

        Raises:
            BadInputError: not a text, or one that UTF-8 does not have, or of more than ``length`` - 2 symbols.
        """
        if not isinstance(text, (str, bytes)):
            raise BadInputError("This is not a text.", expected="str or bytes", got=type(text).__name__)
        try:
            content = text.encode() if isinstance(text, str) else text
        except UnicodeEncodeError as error:  # half of a pair of UTF-16, which is no character
            raise BadInputError("The text cannot be written in UTF-8.", got=error) from error
        symbols = [CLS, *_symbols(content), SEP]
        if len(symbols) > self.length:
            raise BadInputError(
                "The text is too long for the model.", expected=f"at most {self.length - 2} bytes of UTF-8",
                got=f"{len(symbols) - 2} bytes", fix="cut it, or compile for a longer sequence",
            )  # fmt: skip
        ids = np.full(self.length, PAD, np.int32)
        ids[: len(symbols)] = symbols
        return {"input": ids, "mask": np.arange(self.length) < len(symbols)}


def _symbols(content: bytes) -> Iterator[int]:
    for part in _NAMED.split(content):
        if part in _SPECIAL:
            yield _SPECIAL.index(part)
        else:
            yield from (byte + FIRST_BYTE for byte in part)


Preprocessing = Union[Pictures, Text]
_KINDS: dict[str, type[Pictures] | type[Text]] = {"pictures": Pictures, "text": Text}


def to_dict(preprocessing: Preprocessing) -> dict[str, Any]:
    """JSON-ready."""
    kind = next(name for name, type_ in _KINDS.items() if isinstance(preprocessing, type_))
    return {"kind": kind, **dataclasses.asdict(preprocessing)}


def from_dict(values: Mapping[str, Any]) -> Preprocessing:
    """Inverse of `to_dict`.

    Raises:
        BadInputError: not such a mapping.
    """
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        for number in (*fields.get("mean", ()), *fields.get("std", ())):
            float(number)  # whole numbers have no end in JSON
        return _KINDS[fields.pop("kind")](**fields)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadInputError("The preprocessing is not usable.", expected="what a bundle carries", got=error) from error
