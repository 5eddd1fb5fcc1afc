"""Several models measured side by side, each in its own process, in turns A B C … A B C …"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from perceiver_edge.measure.turn import PAUSE_S, Turn
from perceiver_edge.measure.worker import Started, Worker, WorkerError
from perceiver_edge.runtime import Latency

_Answer = TypeVar("_Answer")

REST_S = 0.05
"""Between two turns. Threads of some engines go on spinning for tens of milliseconds after a call, and would take
processors from whoever is timed next."""

ROUNDS = range(5, 101)
"""Fewest and most rounds within a budget."""


@dataclass(frozen=True, eq=False)
class Measured:
    """``latency`` of calls back to back, ``paused`` of calls after a pause, with the processor milliseconds of one call
    in each (medians, see `Turn`). ``outputs``: ``[samples, ...]``, or None where they were not asked for.
    ``peak_bytes``: see `Worker`."""

    started: Started
    latency: Latency
    paused: Latency
    processor_ms: float
    paused_processor_ms: float
    peak_bytes: int | None
    outputs: np.ndarray | None


def measure_side_by_side(
    workers: Mapping[str, Callable[[], Worker]],
    *,
    rounds: int | None,
    budget_s: float,
    answering: Collection[str] = (),
    pause_s: float = PAUSE_S,
) -> dict[str, Measured | WorkerError]:
    """Start all workers, one after the other, then time them in turns.

    Args:
        workers: by name, what starts each.
        rounds: timed turns of each, or None for as many as fit in ``budget_s`` (see `ROUNDS`).
        answering: those that also answer all their samples.
        pause_s: before each call that is measured after a pause.

    Returns:
        by name, what was measured, or the error of a worker that failed; the others are measured all the same.
    """
    failed: dict[str, Measured | WorkerError] = {}
    alive: dict[str, Worker] = {}
    started: dict[str, Started] = {}
    outputs: dict[str, np.ndarray] = {}
    with ExitStack() as stack:
        for name, make in workers.items():
            try:
                worker = stack.enter_context(make())
                started[name] = worker.start()
                if name in answering:
                    outputs[name] = worker.outputs()
                alive[name] = worker
            except WorkerError as error:
                failed[name] = error
        begun = time.perf_counter()
        _round(alive, failed, pause_s)  # not kept: first turns are slower
        fitting = int(budget_s / max(time.perf_counter() - begun, 1e-3))
        count = rounds or min(max(fitting, ROUNDS.start), ROUNDS.stop - 1)
        turns = [_round(alive, failed, pause_s) for _ in range(count)]
        peaks = _asked(alive, failed, Worker.peak_bytes)
    measured = {
        name: _measured(started[name], [turn[name] for turn in turns], peak, outputs.get(name))
        for name, peak in peaks.items()
    }
    return {name: measured.get(name) or failed[name] for name in workers}


def _measured(started: Started, turns: list[Turn], peak: int | None, outputs: np.ndarray | None) -> Measured:
    return Measured(
        started=started, latency=Latency(tuple(turn.burst_ms for turn in turns)),
        paused=Latency(tuple(turn.paused_ms for turn in turns)),
        processor_ms=float(np.median([turn.burst_processor_ms for turn in turns])),
        paused_processor_ms=float(np.median([turn.paused_processor_ms for turn in turns])),
        peak_bytes=peak, outputs=outputs,
    )  # fmt: skip


def _round(alive: dict[str, Worker], failed: dict[str, Measured | WorkerError], pause_s: float) -> dict[str, Turn]:
    def turn(worker: Worker) -> Turn:
        time.sleep(REST_S)
        return worker.turn(pause_s)

    return _asked(alive, failed, turn)


def _asked(
    alive: dict[str, Worker], failed: dict[str, Measured | WorkerError], ask: Callable[[Worker], _Answer]
) -> dict[str, _Answer]:
    """The answers of those alive; who does not answer moves to the failed."""
    answers = {}
    for name, worker in list(alive.items()):
        try:
            answers[name] = ask(worker)
        except WorkerError as error:
            failed[name] = error
            del alive[name]
    return answers
