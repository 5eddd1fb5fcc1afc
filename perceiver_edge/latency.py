"""Latency of a bundle's artefacts on this machine, measured side by side."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceiver_edge.held_out import HeldOut
from perceiver_edge.runtime import interleaved_latency, load

_BUDGET_S = 8.0
_ROUNDS = range(5, 51)


@dataclass(frozen=True)
class Latencies:
    """``artefacts``: file name → ``median_ms``, ``p10_ms``, ``p90_ms`` of one call. ``device``: where, in words."""

    device: str
    threads: int
    rounds: int
    artefacts: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "device": self.device, "threads": self.threads, "rounds": self.rounds, "artefacts": dict(self.artefacts)
        }  # fmt: skip


def default_threads() -> int:
    """All processors this process may use, at most 4: what phones and Raspberry Pis have of fast cores."""
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def measure_latency(models: Mapping[str, bytes], held_out: HeldOut, *, threads: int) -> Latencies:
    """Time all artefacts in turns, A B C A B C …, for about eight seconds in all (at least 5 rounds)."""
    runners = {name: load(content, threads=threads) for name, content in models.items()}
    batch = next(iter(next(iter(runners.values())).inputs.values())).shape[0]
    feeds = held_out.batch(0, batch)
    calls = {name: (lambda runner=runner: runner(feeds)) for name, runner in runners.items()}
    for call in calls.values():  # first calls allocate; they are no measure of a round
        call()
    start = time.perf_counter()
    for call in calls.values():
        call()
    round_s = time.perf_counter() - start
    rounds = min(max(int(_BUDGET_S / max(round_s, 1e-4)), _ROUNDS.start), _ROUNDS.stop - 1)
    measured = interleaved_latency(calls, rounds=rounds, warmup=1)
    figures = {n: {"median_ms": t.median_ms, "p10_ms": t.p10_ms, "p90_ms": t.p90_ms} for n, t in measured.items()}
    return Latencies(_device(), threads, rounds, figures)


def _device() -> str:
    return f"{platform.machine()} {platform.system()}, {_processor()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"
