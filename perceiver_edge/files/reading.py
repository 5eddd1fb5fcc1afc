"""Read a file of somebody else's: never a pipe that blocks, never more than it may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from perceiver_edge.errors import BadInputError

MOST_TEXT_BYTES = 64 << 20
"""Of a text that people may edit, such as a calibration.json: the largest that is made has a tenth of it."""

MOST_MODEL_BYTES = 4 << 30
"""Of a TFLite or ONNX file. Both formats end at 2 GiB, but for TFLite's constants beside the flatbuffer."""


def read_file(
    path: str | os.PathLike[str], *, most_bytes: int, what: str = "The file", start: int | None = None
) -> bytes:
    """The content of a regular file.

    Args:
        most_bytes: more is refused before it is read.
        what: begins the error's sentence.
        start: read only so many bytes from the start.

    Raises:
        BadInputError: no such file, a folder, a pipe or a device, too large, or it cannot be read.
    """
    try:
        # Without waiting for a writer, should it be a named pipe.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, what, getattr(error, "strerror", None) or error) from error
    try:
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _unreadable(path, what, "a folder, a pipe or a device")
            if status.st_size > most_bytes:
                raise too_large(path, what, status.st_size, most_bytes)
            content = file.read(most_bytes + 1 if start is None else start)
    except OSError as error:
        raise _unreadable(path, what, error.strerror or error) from error
    if len(content) > most_bytes:  # it grew, or the system knows no size, as in /proc
        raise too_large(path, what, len(content), most_bytes)
    return content


def too_large(path: object, what: str, size_bytes: int, most_bytes: int) -> BadInputError:
    return BadInputError(
        f"{what} is too large.", expected=f"at most {most_bytes:,} bytes", got=f"{size_bytes:,} bytes", where=path
    )


def _unreadable(path: object, what: str, reason: object) -> BadInputError:
    return BadInputError(f"{what} cannot be read.", expected="a file", got=reason, where=path)


def is_regular(path: Path) -> bool:
    """Whether it is a file, or a link to one, and no pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
