"""Keep what C++ writes off the terminal; Python cannot turn it off."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO

_STDERR = 2
_one_redirection = threading.RLock()


_SOURCE = rb"[\w./-]+\.(?:cc|h):\d+\]"
_NOTICE = rb"INFO: (?:\[" + _SOURCE + rb"|(?:Created|Initialized|Applying \d+) TensorFlow Lite |Loaded Open[CG]L )"
"""How lines begin that LiteRT and tflite-runtime write while all is well. A program may have lines of INFO too."""

_LITE_NOTICE = re.compile(_NOTICE)
_LITERT_NOTICE = re.compile(_NOTICE + rb"|WARNING: \[(?:npu|gpu)_registry\.cc")
_TENSORFLOW_NOTICE = re.compile(
    _NOTICE + rb"|[IW]\d{4} \d\d:\d\d:\d\d\S* +\d+ " + _SOURCE + rb"|WARNING: All log messages before absl"
)
"""The last two are absl's form of a log line, from C++."""


def without_notices() -> AbstractContextManager[None]:
    """Let everything through but TFLite's own notices."""
    return stderr_held_back(shows=lambda line: not _LITE_NOTICE.match(line))


@contextmanager
def without_tensorflow_notices() -> Iterator[None]:
    """Hold back what TensorFlow says while it converts: from C++, and from Python, which a notebook shows twice."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with stderr_held_back(shows=lambda line: not _TENSORFLOW_NOTICE.match(line)):
            yield
    finally:
        logger.setLevel(before)


def without_litert_notices() -> AbstractContextManager[None]:
    """Beside its notices hold back that LiteRT found no NPU and no GPU, which it looks for even to run on the CPU."""
    return stderr_held_back(shows=lambda line: not _LITERT_NOTICE.match(line))


@functools.cache
def leave_stderr_to_python_at_exit() -> None:
    """Once the program is over, show what Python still writes to stderr and not what C++ does."""
    atexit.register(_leave_stderr_to_python)


def _leave_stderr_to_python() -> None:
    terminal = _copy_of_stderr()
    if terminal is None:
        return
    sys.stderr.flush()
    if _writes_to_stderr(sys.stderr):  # a program may have put another stream there
        sys.stderr = os.fdopen(terminal, "w", errors="backslashreplace", closefd=False)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), _STDERR)


@contextmanager
def stderr_held_back(*, shows: Callable[[bytes], bool]) -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then let those lines through that ``shows`` accepts."""
    with _one_redirection:  # first: what another thread redirected to is no terminal
        terminal = _copy_of_stderr()
        if terminal is None:
            yield
            return
        try:
            with tempfile.TemporaryFile() as held:
                sys.stderr.flush()
                os.dup2(held.fileno(), _STDERR)
                try:
                    yield
                finally:
                    sys.stderr.flush()
                    os.dup2(terminal, _STDERR)
                    held.seek(0)
                    for line in held:
                        if shows(line):
                            os.write(_STDERR, line)
        finally:
            os.close(terminal)


def _writes_to_stderr(stream: TextIO) -> bool:
    try:
        return stream.fileno() == _STDERR
    except OSError:  # it is no file at all
        return False


def _copy_of_stderr() -> int | None:
    """None where there is no stderr, as in a daemon; descriptor 2 may then be anybody's file."""
    if sys.stderr is None:
        return None
    try:
        return os.dup(_STDERR)
    except OSError:
        return None
