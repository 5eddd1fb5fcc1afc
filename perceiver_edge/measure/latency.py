"""Latency of a bundle's artefacts on this machine, measured side by side."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.provenance import processor
from perceiver_edge.runtime import Latency, interleaved_latency, load
from perceiver_edge.runtime.loading import is_tflite

_BUDGET_S = 4.0
_ROUNDS = range(5, 101)


@dataclass(frozen=True)
class Latencies:
    """``artefacts``: file name → ``median_ms``, ``p10_ms``, ``p90_ms`` of one call, and ``samples_ms`` of each round.

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
    """Time the artefacts of each format in turns, A B A B …, for a few seconds (at least 5 rounds).

    One format after the other: the threads of ONNX Runtime spin on after a call and would slow down what runs next.
    """
    figures: dict[str, Mapping[str, Any]] = {}
    rounds = []
    for of_format in (
        {name: content for name, content in models.items() if is_tflite(content)},
        {name: content for name, content in models.items() if not is_tflite(content)},
    ):
        if of_format:
            timed = _timed(of_format, held_out, threads)
            rounds.append(len(next(iter(timed.values())).samples_ms))
            figures |= {name: _figures(times) for name, times in timed.items()}
    return Latencies(describe_device(), threads, min(rounds), {name: figures[name] for name in models})


def _figures(times: Latency) -> Mapping[str, Any]:
    samples_ms = [round(sample, 4) for sample in times.samples_ms]  # finer is the clock's noise
    return {"median_ms": times.median_ms, "p10_ms": times.p10_ms, "p90_ms": times.p90_ms, "samples_ms": samples_ms}


def _timed(models: Mapping[str, bytes], held_out: HeldOut, threads: int) -> dict[str, Latency]:
    runners = {name: load(content, threads=threads) for name, content in models.items()}
    feeds = held_out.batch(0, next(iter(runners.values())).batch_size)
    calls = {name: functools.partial(runner, feeds) for name, runner in runners.items()}
    interleaved_latency(calls, rounds=1, warmup=0)  # first calls allocate; they are no measure of a round
    round_s = sum(t.median_ms for t in interleaved_latency(calls, rounds=1, warmup=0).values()) / 1000
    rounds = min(max(int(_BUDGET_S / max(round_s, 1e-4)), _ROUNDS.start), _ROUNDS.stop - 1)
    return interleaved_latency(calls, rounds=rounds, warmup=rounds // 10 + 1)


def describe_device() -> str:
    """This machine, in words."""
    return f"{platform.machine()} {platform.system()}, {processor()}"
