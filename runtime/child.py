"""A child process that answers one request after the other; after trouble of any kind nobody asks it again.

`serving` is the child's end.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Union

import numpy as np

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.frames import Arrays, receive, send

LONGEST_S = 600.0
"""A model that takes longer over one call does not end, or its driver hangs: large ones take minutes on one core."""

_START = """
import sys
sys.path[:] = [*filter(None, sys.path), sys.argv.pop(1)]
from {module} import main
main()
"""
"""Without the empty entry, the current folder: a ``numpy.py`` there would run. Last is where this package lies."""

_Stderr = Union[int, IO[bytes], None]


def program(module: str) -> list[str]:
    """A command that runs ``main()`` of a module of ours in this Python; arguments may follow.

    Nothing is imported from the current folder, which may be a stranger's.
    """
    home = Path(inspect.getfile(BadInputError)).absolute().parents[1]
    return [sys.executable, "-c", _START.format(module=module), str(home)]


class ChildError(Exception):
    """There is no answer and there will be none; the text says why."""


class ChildProcess:
    """The parent's end. Threads may share it; a fork has no part in it."""

    def __init__(self, command: Sequence[str], *, stderr: _Stderr = None) -> None:
        """
        Args:
            command: of `program`.
            stderr: where what the process says goes; None for where that of this process does.

        Raises:
            BadInputError: it cannot be started.
        """
        self._one_call, self._owner = threading.Lock(), os.getpid()
        self._end: str | None = None
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=_own_stderr() if stderr is None else stderr,
            )  # fmt: skip
        except OSError as error:
            raise BadInputError("No process can be started for the model.", got=error) from error

    def ask(self, header: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send a request and wait for the answer.

        Whatever is raised ends the process: an answer that was not read would be taken for that to the next request.

        Raises:
            ChildError: the process ended, gave no answer within `LONGEST_S`, or was ended before.
        """
        with self._one_call, killed_late(self._process) as is_late:
            if self._end is not None:
                raise ChildError(self._end)
            try:
                assert self._process.stdin is not None and self._process.stdout is not None
                send(self._process.stdin, header, arrays)
                return receive(self._process.stdout)
            except BaseException as error:
                self._process.kill()
                code = self._process.wait()
                # TimeoutError is an OSError, but no pipe's: a program raises it when a signal arrives
                if isinstance(error, TimeoutError) or not isinstance(error, (OSError, EOFError, ValueError)):
                    self._end = "ended, for an earlier call was interrupted"
                    raise
                died = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                self._end = f"no answer within {LONGEST_S:g} s" if is_late() else died
                raise ChildError(self._end) from error

    def close(self) -> None:
        """End the process; in a fork do nothing."""
        if os.getpid() != self._owner:
            return
        self._end = self._end or "closed"
        self._process.kill()
        with self._one_call:  # whoever waits for an answer sees the end of it
            self._process.communicate()

    def __del__(self) -> None:
        if "_process" in self.__dict__ and not sys.is_finalizing():
            self.close()


@contextmanager
def killed_late(process: subprocess.Popen[Any]) -> Iterator[Any]:
    """End the process if the block takes longer than `LONGEST_S`; gives a function that says whether that happened."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    watchdog = threading.Timer(LONGEST_S, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield late.is_set
    finally:
        watchdog.cancel()


def _own_stderr() -> int | None:
    """The parent's own; nothing where it has none, for the child's pipes must not get that number."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return None
