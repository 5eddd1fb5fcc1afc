"""One turn of a model: calls that follow each other at once, and calls after a pause, as apps make them.

After a pause threads have to be woken and caches filled, so both are measured. Processor time is of all threads of this
process, and the nearest thing to energy that can be measured everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

PAUSE_S = 0.1
"""Between two calls, unless it is said: what a microphone or a slow camera leaves."""

_RUN_IN_MS = 50.0
"""Calls before a burst, at least one, that are not measured: after a pause it takes the system tens of milliseconds to
give each thread a processor of its own, and whoever has asked for the turn still runs."""

_BURST_MS = 50.0
_MOST_CALLS = 50
"""A burst is as many calls as fit in the first, at least one and at most so many."""

_LONG_MS, _PAUSED_CALLS = 200.0, 6
"""A call that takes longer is made once after a pause in a turn; a shorter one so often: what a burst has settled wears
off."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of one call, the median of several; and of all threads' processor time, with what they do till the
    next call."""

    ms: float
    processor_ms: float


@dataclass(frozen=True)
class Turn:
    """Both kinds of calls, for one model: as `Times`."""

    burst_ms: float
    burst_processor_ms: float
    paused_ms: float
    paused_processor_ms: float


def take_turn(call: Callable[[], object], *, pause_s: float = PAUSE_S) -> Turn:
    """Measure a burst, then calls with a pause before and after each."""
    burst = burst_of(call)
    paused = after_pauses(call, burst.ms, pause_s=pause_s)
    return Turn(burst.ms, burst.processor_ms, paused.ms, paused.processor_ms)


def burst_of(call: Callable[[], object]) -> Times:
    """Calls that follow each other at once, and have done so for a while."""
    begun = time.perf_counter()
    call_ms = timed_ms(call)
    while 1000 * (time.perf_counter() - begun) + call_ms < _RUN_IN_MS:
        call_ms = timed_ms(call)
    count = min(max(int(_BURST_MS / call_ms), 1), _MOST_CALLS)
    before = time.process_time()
    times_ms = [timed_ms(call) for _ in range(count)]
    return Times(median(times_ms), 1000 * (time.process_time() - before) / count)


def after_pauses(call: Callable[[], object], usual_ms: float, *, pause_s: float = PAUSE_S) -> Times:
    """Calls with a pause before and after each; ``usual_ms``, what one takes back to back, says how many."""
    count = 1 if usual_ms > _LONG_MS else _PAUSED_CALLS
    time.sleep(pause_s)
    before, times_ms = time.process_time(), []
    for _ in range(count):
        times_ms.append(timed_ms(call))
        time.sleep(pause_s)
    return Times(median(times_ms), 1000 * (time.process_time() - before) / count)


def timed_ms(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun)
