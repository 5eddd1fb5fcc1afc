"""Arrays out of ``.npy`` and ``.npz`` files of somebody else's, without pickles and within a stated size.

NumPy and zipfile raise a dozen types over damage (ValueError, EOFError, zlib.error, SyntaxError and TokenError from a
header, NotImplementedError for a compression, RuntimeError for a password, …): here they are one.
"""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.errors import BadInputError, PerceiverEdgeError
from perceiver_edge.files.reading import is_regular

MOST_UNPACKED_BYTES = 64 << 30
"""Of all arrays in one archive: a hundred thousand pictures of 224 × 224 in float32. A zip bomb says more, or lies."""

MOST_MEMBERS = 1000


def open_npy(path: Path) -> NDArray[Any]:
    """The array, mapped: only what is asked for is read.

    Raises:
        BadInputError: no such file, or it is no whole array of numbers.
    """
    with _damage(path):
        if not is_regular(path):
            raise OSError("it is no file")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray):  # NumPy goes by the content, and opens an archive of any name
            array.close()
            raise ValueError("it is an archive of arrays, a .npz file")
        return array


def open_npz(path: Path, *, most_bytes: int = MOST_UNPACKED_BYTES) -> dict[str, NDArray[Any]]:
    """Arrays by name, each mapped from a nameless temporary file, because NumPy maps no member of an archive.

    Raises:
        BadInputError: as `open_npy`, or more than ``most_bytes`` when unpacked.
    """
    with _damage(path):
        if not is_regular(path):
            raise OSError("it is no file")
        with zipfile.ZipFile(path) as archive:
            _require_within(archive, most_bytes, path)
            return {name.removesuffix(".npy"): _map_member(archive, name) for name in archive.namelist()}


def read_npz(file: IO[bytes], *, most_bytes: int, where: object) -> dict[str, NDArray[Any]]:
    """Arrays by name, in memory. Raises as `open_npz`."""
    with _damage(where), zipfile.ZipFile(file) as archive:
        _require_within(archive, most_bytes, where)
        return {name.removesuffix(".npy"): _read_member(archive, name) for name in archive.namelist()}


def _require_within(archive: zipfile.ZipFile, most_bytes: int, where: object) -> None:
    """By what the archive says of itself: zipfile unpacks no more of a member than that."""
    total = sum(member.file_size for member in archive.infolist())
    if total > most_bytes or len(archive.infolist()) > MOST_MEMBERS:
        raise BadInputError(
            "The archive is too large.", expected=f"at most {most_bytes:,} bytes in {MOST_MEMBERS} arrays",
            got=f"{total:,} bytes in {len(archive.infolist())} when unpacked", where=where,
        )  # fmt: skip


def _map_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with tempfile.TemporaryFile() as unpacked:
        with archive.open(name) as member:
            shutil.copyfileobj(member, unpacked)
        unpacked.seek(0)
        shape, is_fortran, dtype = _header(unpacked, name, archive.getinfo(name).file_size)
        if 0 in shape:
            return np.empty(shape, dtype)  # nothing to map
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        return np.memmap(unpacked, dtype, mode="r", offset=unpacked.tell(), shape=shape, order=order)


def _read_member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as member:
        shape, is_fortran, dtype = _header(member, name, archive.getinfo(name).file_size)
        if 0 in shape:
            return np.empty(shape, dtype)
        content = member.read()
    flat = np.frombuffer(content, dtype, count=math.prod(shape))
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def _header(file: Any, name: str, size_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What an array's header says, if the array can be within ``size_bytes``."""
    is_first_version = np.lib.format.read_magic(file) == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if is_first_version else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size_bytes:
        raise ValueError(f"{name} is said to be {dtype} {list(shape)}, more than there is")
    return shape, is_fortran, dtype


@contextmanager
def _damage(where: object) -> Iterator[None]:
    try:
        yield
    except PerceiverEdgeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # not the file's fault; who runs the command says what is full
        raise BadInputError(
            "The file of arrays cannot be read.", expected="a whole NumPy file", got=f"{type(error).__name__}: {error}",
            where=where,
        ) from error  # fmt: skip
