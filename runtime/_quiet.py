"""Keep an engine's notices off the terminal; they come from C++ and Python cannot turn them off."""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_one_redirection = threading.Lock()


@contextmanager
def without_notices() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then let everything through but lines that start with INFO."""
    with _one_redirection, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # no stderr at all, as in a daemon: nothing to keep quiet
            yield
            return
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not line.startswith(b"INFO"):
                    os.write(_STDERR, line)
