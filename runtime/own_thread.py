"""A thread for one model's inferences, apart from its engine's workers.

After a pause the system wakes a worker where the thread that woke it runs, and that one does not sleep: it works, and
then spins till the worker is done. The two take turns on one processor, and the second thread is worth nothing (int8 on
two processors: 2 times as slow after 100 ms; users of every engine report it). So the inference stays on the processor
that it first woke on, and the workers stay off it.

The thread is ours because nobody may bind the caller's. Where something else wants its processor, it lets the system
wake it elsewhere, and stays there; whoever takes processors from this process, with ``taskset`` say, is heeded.

Linux gives a thread the name of the one that starts it: so the engine's workers are known from all others.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from perceiver_edge.errors import PerceiverEdgeError

if sys.platform == "linux":
    import resource

_Result = TypeVar("_Result")

_TASKS = Path("/proc/self/task")
_THIS_TASK = Path("/proc/thread-self")
_number = itertools.count()


class Home(Protocol):
    """Where an engine lives: what it is built by, and what runs it."""

    def build(self, work: Callable[[], _Result]) -> _Result: ...

    def run(self, work: Callable[[], _Result]) -> _Result: ...


class CallersThread:
    """Whoever calls does the work."""

    def build(self, work: Callable[[], _Result]) -> _Result:
        return work()

    def run(self, work: Callable[[], _Result]) -> _Result:
        return work()


class OwnThread:
    """One thread that does all the work, in the order in which it is asked; it ends with this object."""

    def __init__(self, processors: tuple[int, ...]) -> None:
        """
        Args:
            processors: where it and the engine's workers may run.
        """
        self._process = os.getpid()
        self._asked: SimpleQueue[Any] = SimpleQueue()
        # The thread must not know this object, or it would keep it alive.
        threading.Thread(target=_serve, args=(self._asked, frozenset(processors)), daemon=True).start()
        weakref.finalize(self, self._asked.put, None).atexit = False  # a program may run models while it ends

    def build(self, work: Callable[[], _Result]) -> _Result:
        """Make the engine, and take the threads that it starts for its workers."""
        return self._ask(_Seat.build, work)

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Run the engine, apart from its workers."""
        return self._ask(_Seat.run, work)

    def _ask(self, how: Callable[[_Seat, Callable[[], Any]], Any], work: Callable[[], _Result]) -> _Result:
        if os.getpid() != self._process:
            raise PerceiverEdgeError(
                "The model was loaded before this process was forked, and its threads are in the other one.",
                expected="a model loaded in the process that runs it", got="a runner of the parent process",
                fix="load it after the fork, or with threads=1",
            )  # fmt: skip
        answered: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()  # of this call alone: it may be left
        self._asked.put((how, work, answered))
        result, error = answered.get()
        if error is not None:
            raise error
        return result


def can_place() -> bool:
    """Whether this system lets a thread choose its processors, and tells which threads an engine has started."""
    return sys.platform == "linux" and _current_processor is not None and _THIS_TASK.exists()


def _serve(asked: SimpleQueue[Any], processors: frozenset[int]) -> None:
    seat = _Seat(processors)
    while (question := asked.get()) is not None:
        how, work, answered = question
        try:
            answered.put((how(seat, work), None))
        except BaseException as error:  # the caller's to deal with
            answered.put((None, error))
        del question, how, work, answered  # nothing of a call is kept till the next one


class _Seat:
    """The thread's own view: on which processor it sits, and who its workers are."""

    def __init__(self, processors: frozenset[int]) -> None:
        self._name = f"inference-{next(_number) % 10000}"  # at most 15 bytes
        self._workers: list[int] = []
        self._place: int | None = None
        self._has_run = False
        with suppress(OSError):  # a processor that has just been taken away; then the system places it
            _THIS_TASK.joinpath("comm").write_text(self._name, encoding="ascii")
            os.sched_setaffinity(0, processors)  # what it starts inherits both

    def build(self, work: Callable[[], _Result]) -> _Result:
        result = work()
        self._find_workers()
        return result

    def run(self, work: Callable[[], _Result]) -> _Result:
        with suppress(OSError):  # a worker is gone, or a processor has just been taken away
            self._sit_down()
        before = _preemptions()
        try:
            return work()
        finally:
            with suppress(OSError):
                if not self._has_run:  # the first run may start more workers, which sit where this thread sat
                    self._has_run = True
                    self._get_up()
                    self._find_workers()
                elif _preemptions() != before:  # somebody else wants this processor
                    self._get_up()

    def _sit_down(self) -> None:
        """Stay on the processor that the system has woken this thread on, and have the workers stay off it."""
        if not self._workers or (self._place is not None and os.sched_getaffinity(0) == {self._place}):
            return
        assert _current_processor is not None, "can_place comes first"
        here, usable = _current_processor(), self._usable()
        if len(usable) < 2:  # taskset, since the model was loaded
            return
        for worker in self._workers:
            os.sched_setaffinity(worker, usable - {here})
        os.sched_setaffinity(0, {here})
        self._place = here

    def _get_up(self) -> None:
        """Let the system wake this thread where there is room."""
        self._place = None
        os.sched_setaffinity(0, self._usable())

    def _usable(self) -> set[int]:
        """What this thread and its workers may use together: what was given to them, or what somebody has left them."""
        return set.union(*(os.sched_getaffinity(task) for task in (0, *self._workers)))

    def _find_workers(self) -> None:
        me = threading.get_native_id()
        tasks = [int(task.name) for task in _TASKS.iterdir()]
        self._workers = [task for task in tasks if task != me and _name_of(task) == self._name]


def _preemptions() -> int:
    """How often this thread has had to give up its processor while it had work."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


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
