"""Standard output and error that outlive their readers: `| head` ends no command, and changes no verdict."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from perceiver_edge.errors import BadInputError

_GONE = {errno.EPIPE} if sys.platform != "win32" else {errno.EPIPE, errno.EINVAL}
"""What writing says when the reader has had enough; Windows' word for it is the second."""

_SPELLED = {"✓": "ok", "✗": "NO", "×": "x", "→": "->", "…": "...", "–": "-", "─": "-", "·": "-", "±": "+-"}
"""What we print beyond ASCII and what stands for it: pass and fail must differ in every encoding."""


def _spell(error: UnicodeError) -> tuple[str, int]:
    """For codecs: the nearest ASCII of the characters that an encoding lacks; ``?`` for what a user's names hold."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_SPELLED.get(character, "?") for character in missing), error.end


codecs.register_error("perceiver_edge.spelled", _spell)


class _Patient(io.RawIOBase):
    """A file descriptor. After the first write that fails, what is written goes nowhere.

    Results (``is_needed``) that cannot be written are an error, unless their reader has had enough. Where messages
    cannot be written, there is nobody to tell it to.
    """

    def __init__(self, descriptor: int, *, is_needed: bool) -> None:
        self._descriptor, self._is_needed = descriptor, is_needed

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)  # for what C++ writes, too
            os.close(nowhere)
            if self._is_needed and error.errno not in _GONE:
                raise BadInputError(
                    "The results cannot be written.", got=error.strerror, where="standard output",
                    fix="free some space where it goes, or send it elsewhere",
                ) from error  # fmt: skip
            return len(data)


def _occupy_standard_numbers() -> None:
    """Open nothing as 0, 1 or 2 where the caller closed it: else the next file gets the number, and what C++ logs."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # POSIX: the lowest that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Inside, output to a closed pipe is dropped, and a character that the encoding lacks is spelled: a ✓ must not end
    a command that is done.

    Raises:
        BadInputError: from whatever prints or flushes, where standard output cannot be written, as on a full disk.
    """
    _occupy_standard_numbers()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_patient(stream) for stream in before)
    try:
        yield
    finally:
        try:
            for stream in (sys.stderr, sys.stdout):
                if stream is not None:
                    stream.flush()
        finally:
            sys.stdout, sys.stderr = before


def _patient(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (AttributeError, OSError, ValueError):  # None in a daemon, or no file at all: a test, a notebook
        return stream
    is_live = os.isatty(descriptor)
    if sys.platform == "win32" and is_live:  # a console takes characters, and shows the bytes of UTF-8 one by one
        return stream
    raw = _Patient(descriptor, is_needed=stream is not sys.stderr)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="perceiver_edge.spelled",  # type: ignore[type-var]
        line_buffering=is_live or stream is sys.stderr,
    )  # fmt: skip
