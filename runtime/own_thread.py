"""A thread for one model's inferences, apart from its engine's workers.

After a pause the system wakes a worker where the thread that woke it runs, and that one does not sleep: it works, and
then spins till the worker is done. The two take turns on one processor, and the second thread is worth nothing (int8 on
two processors: 2 times as slow after 100 ms; users of every engine report it). So the inference stays on one processor,
and the workers stay off it (`seat`). The thread is ours because nobody may bind the caller's.

Where something else wants the processors, all this costs more than it gains: threads that are bound, or that have to be
woken, get less than their share. So for a while the caller's thread does the work, and the system places all.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from perceiver_edge.runtime.seat import Seat

_Result = TypeVar("_Result")


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
    """One thread that does the work in the order in which it is asked; it ends with this object.

    What runs an engine must itself keep out of the way of another run: while the processors are wanted by others, the
    callers' threads do the work.
    """

    def __init__(self, processors: tuple[int, ...]) -> None:
        """
        Args:
            processors: where it and the engine's workers may run.
        """
        self._seat = Seat(processors)
        self._asked: SimpleQueue[Any] = SimpleQueue()
        # The thread must not know this object, or it would keep it alive.
        threading.Thread(target=_serve, args=(self._asked, self._seat), daemon=True).start()
        weakref.finalize(self, self._asked.put, None).atexit = False  # a program may run models while it ends

    def build(self, work: Callable[[], _Result]) -> _Result:
        """Make the engine, and take the threads that it starts for its workers."""
        return self._ask(self._seat.build, work)

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Run the engine, apart from its workers."""
        return work() if self._seat.is_wanted else self._ask(self._seat.run, work)

    def _ask(self, how: Callable[[Callable[[], Any]], Any], work: Callable[[], _Result]) -> _Result:
        answered: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()  # of this call alone: it may be left
        self._asked.put((how, work, answered))
        result, error = answered.get()
        if error is not None:
            raise error
        return result


def _serve(asked: SimpleQueue[Any], seat: Seat) -> None:
    seat.take()
    while (question := asked.get()) is not None:
        how, work, answered = question
        try:
            answered.put((how(work), None))
        except BaseException as error:  # the caller's to deal with
            answered.put((None, error))
        del question, how, work, answered  # nothing of a call is kept till the next one
    seat.leave()
