"""Locks on a folder: publishers take turns, readers go in together. The system drops them when a process ends."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perceiver_edge.errors import BadInputError, option

if sys.platform != "win32":
    import fcntl
else:  # never called there
    fcntl: Any = None

_PUBLISHERS_PATIENCE_S = 120.0
"""Sixteen conversions that end at once, each with a bundle of 200 MB, take a fraction of it."""

_LOG = logging.getLogger(__name__)

NO_LOCKS_HERE = {errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
"""What opening or locking a folder says where that is not allowed, or not known, as on some network file systems."""


@contextmanager
def exclusive_lock(parent: Path) -> Iterator[None]:
    """Hold the folder's lock alone. The system drops it when the process ends, however it ends; no file is left.

    Where there are no locks, publishers have to take turns by themselves.
    """
    descriptor = _opened(parent)
    if descriptor is None:
        yield
        return
    try:
        if not _lock_alone_in_time(descriptor, where=parent):
            raise BadInputError(
                "Another program holds the folder that the bundle is to go to.", where=parent,
                expected=f"its lock within {_PUBLISHERS_PATIENCE_S:g} s",
                fix=f"end that program, or choose another {option('output')}",
            )  # fmt: skip
        yield
    finally:
        os.close(descriptor)


@contextmanager
def shared_lock(parent: Path) -> Iterator[bool | None]:
    """Hold the folder's lock beside other readers: True. Else, at once, False: a publisher has it; None: no locks."""
    descriptor = _opened(parent)
    if descriptor is None:
        yield None
        return
    try:
        yield _try_shared(descriptor)
    finally:
        os.close(descriptor)


def _opened(parent: Path) -> int | None:
    """To lock the folder by; None where there is none, or the system opens no folders."""
    if sys.platform == "win32" or not parent.is_dir():
        return None
    try:
        return os.open(parent, os.O_RDONLY)
    except OSError as error:
        if error.errno in NO_LOCKS_HERE:
            return None
        raise


def _try_shared(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS_HERE:
            return None
        raise
    return True


def _lock_alone_in_time(descriptor: int, *, where: Path) -> bool:
    """Whether it is safe to go on: the lock was had within patience, or there are none here.

    ``where`` is named to a person who has to wait for it.
    """
    begun = time.monotonic()
    has_said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited_s = time.monotonic() - begun
            if waited_s > _PUBLISHERS_PATIENCE_S:
                return False
            if waited_s > 1 and not has_said:
                has_said = True
                _LOG.warning("Waiting for another program that publishes into %s.", where)
            time.sleep(0.02)
        except OSError as error:
            if error.errno in NO_LOCKS_HERE:
                return True
            raise
        else:
            return True
