"""Latency of a bundle's artefacts on this machine, measured side by side."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from statistics import median
from typing import Any

from perceiver_edge.measure.side_by_side import ROUNDS
from perceiver_edge.measure.turn import Times, after_pauses, burst_of
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.provenance import processor
from perceiver_edge.runtime import Latency, load

_BUDGET_S = 5.0

TOGETHER_BYTES = 256 << 20
"""Of files that are loaded at once; an engine holds two to four times as much. Larger ones are measured format by
format: it is within a format that a file is compared with its float32 peer."""


@dataclass(frozen=True)
class Latencies:
    """``artefacts``: file name → ``median_ms``, ``p10_ms``, ``p90_ms`` of one call back to back with others, and
    ``samples_ms`` of each round; ``paused_ms`` of one after a pause of `PAUSE_S`; ``processor_ms`` and
    ``paused_processor_ms`` of one call (medians, see `measure.turn`).

    ``device``: where, in words.
    """

    device: str
    threads: int
    rounds: int
    artefacts: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device, "threads": self.threads, "rounds": self.rounds, "artefacts": dict(self.artefacts)
        }  # fmt: skip


def measure_latency(models: Mapping[str, bytes], held_out: HeldOut, *, threads: int) -> Latencies:
    """Time bursts of the artefacts in turns, A B A B …, for seconds (at least 5 rounds); then calls after pauses.

    Large files of different formats are not timed in turns (`TOGETHER_BYTES`).
    """
    groups = [_timed(group, held_out, threads=threads) for group in _together(models)]
    figures = {name: of_file for group in groups for name, of_file in group.items()}
    rounds = min(len(of_file["samples_ms"]) for of_file in figures.values())
    return Latencies(describe_device(), threads, rounds, {name: figures[name] for name in models})


def _together(models: Mapping[str, bytes]) -> list[Mapping[str, bytes]]:
    """The models that are loaded at the same time."""
    if sum(map(len, models.values())) <= TOGETHER_BYTES:
        return [models]
    formats = dict.fromkeys(PurePath(name).suffix for name in models)
    return [{name: content for name, content in models.items() if name.endswith(suffix)} for suffix in formats]


def _timed(models: Mapping[str, bytes], held_out: HeldOut, *, threads: int) -> dict[str, Mapping[str, Any]]:
    runners = {name: load(content, threads=threads) for name, content in models.items()}
    feeds = held_out.batch(0, next(iter(runners.values())).batch_size)
    calls = {name: functools.partial(runner, feeds) for name, runner in runners.items()}
    for call in calls.values():
        call()  # the first one allocates
    begun = time.perf_counter()
    rounds = [_round(calls)]
    fitting = int(_BUDGET_S / (time.perf_counter() - begun))
    rounds += [_round(calls) for _ in range(min(max(fitting, ROUNDS.start), ROUNDS.stop - 1) - 1)]
    paused = {name: after_pauses(call, rounds[-1][name].ms) for name, call in calls.items()}
    return {name: _figures([bursts[name] for bursts in rounds], paused[name]) for name in models}


def _round(calls: Mapping[str, Callable[[], object]]) -> dict[str, Times]:
    return {name: burst_of(call) for name, call in calls.items()}


def _figures(bursts: Sequence[Times], paused: Times) -> Mapping[str, Any]:
    times = Latency(tuple(burst.ms for burst in bursts))
    return {
        "median_ms": times.median_ms, "p10_ms": times.p10_ms, "p90_ms": times.p90_ms,
        "samples_ms": [round(sample, 4) for sample in times.samples_ms],  # finer is the clock's noise
        "processor_ms": median(burst.processor_ms for burst in bursts),
        "paused_ms": paused.ms, "paused_processor_ms": paused.processor_ms,
    }  # fmt: skip


def describe_device() -> str:
    """This machine, in words."""
    return f"{platform.machine()} {platform.system()}, {processor()}"
