"""One thread's place among the processors, and its workers' around it.

Linux gives a thread the name and the processors of the one that starts it: so an engine's workers are known from all
other threads. Whoever takes processors from this process, with ``taskset`` say, is heeded.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

if sys.platform == "linux":
    import resource
    from os import O_CLOEXEC as _O_CLOEXEC
    from os import pread as _pread
    from os import sched_getaffinity as _affinity
    from os import sched_setaffinity as _set_affinity
else:  # `can_place` says no
    resource: Any = None
    _O_CLOEXEC: Any = None
    _pread: Any = None
    _affinity: Any = None
    _set_affinity: Any = None

_Result = TypeVar("_Result")

_TASKS = Path("/proc/self/task")
_THIS_TASK = Path("/proc/thread-self")
_number = itertools.count()

_NOTICED_NS = 500_000
"""Who waits longer for a processor waits for somebody else's slice of time, which is milliseconds. A kernel's thread
that cuts in is gone sooner."""

_WANTED_S = (0.1, 3.0)
"""How long a processor counts as wanted by others; each time that it still is, twice as long, up to the second. Calls
that follow each other sooner than the first find the workers awake where they are, and need no placing."""


class Seat:
    """Where a thread sits. It takes the seat itself; all but `is_wanted` is for that thread alone."""

    def __init__(self, processors: tuple[int, ...]) -> None:
        self._name = f"inference-{next(_number) % 10000}"  # at most 15 bytes
        self._processors = processors
        self._workers: list[int] = []
        self._place: int | None = None
        self._has_run = False
        self._waited_ns = 0
        self._statistics: int | None = None
        self._wanted_until = 0.0
        self._wanted_s = _WANTED_S[0]

    @property
    def is_wanted(self) -> bool:
        """Whether something else has lately wanted the processor."""
        return time.monotonic() < self._wanted_until

    def take(self) -> None:
        with suppress(OSError):  # a processor that has just been taken away; then the system places it
            _THIS_TASK.joinpath("comm").write_text(self._name, encoding="ascii")
            _set_affinity(0, self._processors)
        with suppress(OSError):  # a kernel that does not count
            self._statistics = os.open(_THIS_TASK / "schedstat", os.O_RDONLY | _O_CLOEXEC)

    def leave(self) -> None:
        if self._statistics is not None:
            os.close(self._statistics)

    def build(self, work: Callable[[], _Result]) -> _Result:
        """Do what starts workers."""
        result = work()
        self._find_workers()
        return result

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do what the workers help with: on one processor, and they on the others."""
        with suppress(OSError):  # a worker is gone, or a processor has just been taken away
            if self._has_run:
                self._sit_down()
        try:
            return work()
        finally:
            with suppress(OSError):
                if self._has_run:
                    self._look_around()
                else:  # the first run may start more workers, bound as this thread is
                    self._find_workers()
                    self._waited_ns = self._count_waited_ns()
                    self._has_run = True

    def _sit_down(self) -> None:
        """Stay on the processor that the system has woken this thread on, and have the workers stay off it."""
        if not self._workers or (self._place is not None and _affinity(0) == {self._place}):
            return
        assert _current_processor is not None, "can_place comes first"
        here, usable = _current_processor(), self._usable()
        if len(usable) < 2:  # taskset, since the model was loaded
            return
        for worker in self._workers:
            _set_affinity(worker, usable - {here})
        _set_affinity(0, {here})
        self._place = here

    def _look_around(self) -> None:
        """Leave the place where something else wants it; then the system places this thread and its workers."""
        before_ns, self._waited_ns = self._waited_ns, self._count_waited_ns()
        if self._waited_ns < before_ns + _NOTICED_NS:
            self._wanted_s = _WANTED_S[0]
            return
        self._place, self._wanted_until = None, time.monotonic() + self._wanted_s
        self._wanted_s = min(2 * self._wanted_s, _WANTED_S[1])
        usable = self._usable()
        for task in (0, *self._workers):
            _set_affinity(task, usable)

    def _usable(self) -> set[int]:
        """What this thread and its workers may use together: what was given to them, or what somebody has left them."""
        return set.union(*(_affinity(task) for task in (0, *self._workers)))

    def _count_waited_ns(self) -> int:
        """How long this thread has had work and no processor. Where the kernel does not count it, each time that it has
        had to give up its processor is taken for a wait that is noticed."""
        if self._statistics is None:
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw * _NOTICED_NS
        return int(_pread(self._statistics, 64, 0).split()[1])

    def _find_workers(self) -> None:
        me = threading.get_native_id()
        tasks = [int(task.name) for task in _TASKS.iterdir()]
        self._workers = [task for task in tasks if task != me and _name_of(task) == self._name]


def can_place() -> bool:
    """Whether this system lets a thread choose its processors, and tells which threads an engine has started."""
    return sys.platform == "linux" and _current_processor is not None and _THIS_TASK.exists()


def _name_of(task: int) -> str | None:
    try:
        return (_TASKS / str(task) / "comm").read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:  # it has just ended
        return None


def _find_current_processor() -> Callable[[], int] | None:
    """The C library's; Python has none. A call takes less time than letting go of the interpreter's lock."""
    try:
        return ctypes.PyDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):  # macOS has none; Windows opens no library of None
        return None


_current_processor = _find_current_processor()
