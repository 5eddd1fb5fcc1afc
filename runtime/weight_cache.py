"""Files of packed weights: which one belongs to a model, and whether it is whole.

XNNPACK checks neither. With the file of another model it computes what that one's weights say, with flipped bytes it
computes nonsense, and one that is cut short it overwrites where it lies, under whoever has it mapped. So a file's name
carries the SHA-256 of the model and the CRC-32 of its own content, both are checked on every load, and a file appears
whole under its name or not at all.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from perceiver_edge.errors import BadInputError

_SUFFIX = ".xnnpack"

_BLOCK_BYTES = 2**18

_MOST_GROWTH = 3
"""Packed weights take at most twice the model's bytes, as float16 becomes float32; the rest is reserve."""


def packed_weights(model: Path, folder: Path, *, packer: str, pack: Callable[[Path], None]) -> Path:
    """The model's file of packed weights, packed now where the folder has no whole one.

    Several processes may ask at once: each packs to a place of its own, and the last one's file, the same, stays.

    Args:
        model: the model's file.
        folder: holds such files of any models; made if need be, and written only to pack.
        packer: who packs, with its version: its files are no one else's.
        pack: writes the packed weights to the path that it is given, and has let go of them when it returns.

    Raises:
        BadInputError: the folder cannot be read, written or hold the weights, or nothing was packed.
    """
    try:
        prefix = f"{_sha256(model)}_{packer}_{platform.machine()}_"
        for file in folder.glob(f"{prefix}*{_SUFFIX}"):
            if _is_whole(file, prefix):
                return file
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(model, folder)
        with TemporaryDirectory(dir=folder, prefix=".packing-") as scratch:
            packed = Path(scratch, "weights")
            pack(packed)
            if not packed.exists():
                raise BadInputError("No weights were packed.", expected=packer, where=model, fix="omit weight_cache")
            return packed.replace(folder / f"{prefix}{_crc32(packed)}{_SUFFIX}")
    except OSError as error:
        raise BadInputError(
            "The weight cache cannot be used.", expected="a folder to read and to write", got=error, where=folder
        ) from error


def _check_room(model: Path, folder: Path) -> None:
    """XNNPACK ends the process where it cannot write on."""
    needed, free = _MOST_GROWTH * model.stat().st_size, shutil.disk_usage(folder).free
    if free < needed:
        raise BadInputError("The weight cache has no room.", expected=f"{needed} bytes", got=f"{free}", where=folder)


def _is_whole(file: Path, prefix: str) -> bool:
    try:
        return file.name == f"{prefix}{_crc32(file)}{_SUFFIX}"
    except FileNotFoundError:  # deleted just now
        return False


def _crc32(file: Path) -> str:
    """Tells damage, in half the time that SHA-256 takes even with instructions for it."""
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
