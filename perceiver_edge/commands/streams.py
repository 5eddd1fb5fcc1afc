"""Standard output and error that outlive their readers: `| head` ends no command, and changes no verdict."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

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
    """A file descriptor; when its reader has had enough, what is written goes nowhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: bytes) -> int:  # type: ignore[override]
        try:
            return os.write(self._descriptor, data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)  # for what C++ writes, too
            os.close(nowhere)
            return len(data)


def _occupy_standard_numbers() -> None:
    """Open nothing as 0, 1 or 2 where the caller closed it: else the next file gets the number, and what C++ logs."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # POSIX: the lowest that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def patient_streams() -> Iterator[None]:
    """Inside, output to a closed pipe is dropped, and a character that the encoding lacks is spelled: a ✓ must not end
    a command that is done."""
    _occupy_standard_numbers()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_patient(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def _patient(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (AttributeError, OSError, ValueError):  # None in a daemon, or no file at all: a test, a notebook
        return stream
    buffered = io.BufferedWriter(_Patient(descriptor))  # type: ignore[type-var]
    is_live = os.isatty(descriptor) or stream is sys.stderr
    return io.TextIOWrapper(buffered, encoding=stream.encoding, errors="perceiver_edge.spelled", line_buffering=is_live)
