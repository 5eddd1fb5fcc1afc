"""Contenders in, one measured row each out: first what they answer, then how long they take, all in turns."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perceiver_edge.held_out import HeldOut
from perceiver_edge.parity import Gates, Judgement, judge
from perceiver_edge.progress import Progress
from perceiver_edge.proof import outputs
from perceiver_edge.runtime import Latency, Runner, interleaved_latency, load, paired_ratio

COLLAPSED_BELOW = 0.1
"""A sensitivity ratio under this: the output hardly depends on the input any more."""

REST_S = 0.05
"""Pause between two models. ONNX Runtime's threads go on spinning for some 20 ms after a call, and would take
processors from whoever is timed next."""

WARMUP_ROUNDS = 1


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One model file. ``made_by``: in words, for the table. ``is_ours``: from the bundle."""

    file_name: str
    made_by: str
    precision: str
    is_ours: bool
    content: bytes

    @property
    def is_plain_float(self) -> bool:
        return not self.is_ours and self.precision == "fp32"


def compare(
    contenders: Sequence[Contender], held_out: HeldOut, *, is_classifier: bool, rounds: int, threads: int,
    progress: Progress,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each contender, ready for JSON.

    A model's time counts only beside its verdict: ``within bounds`` (the parity gates of its precision), ``out of
    bounds``, or ``collapsed``. ``speedup`` is the median over rounds of the time of the same engine's plain float32
    model over this one's.

    Raises:
        BadInputError: an engine refuses a model; fewer than one round.
    """
    with progress("load all models"):
        runners = [load(one.content, threads=threads) for one in contenders]
    judgements = []
    with progress("compare outputs with the float reference", len(contenders)) as advance:
        for one, runner in zip(contenders, runners, strict=True):
            judgements.append(
                judge(
                    held_out.reference, outputs(runner, held_out), gates=Gates.for_precision(one.precision),
                    is_classifier=is_classifier, labels=held_out.labels,
                )
            )  # fmt: skip
            advance(len(judgements))
    with progress(f"time {rounds} rounds"):
        latencies = _time(runners, held_out, rounds)
    measured = list(zip(contenders, runners, judgements, latencies, strict=True))
    baselines = {runner.engine: latency for one, runner, _, latency in measured if one.is_plain_float}
    return [
        _row(one, runner.engine, judgement, latency, baselines[runner.engine])
        for one, runner, judgement, latency in measured
    ]


def _time(runners: Sequence[Runner], held_out: HeldOut, rounds: int) -> list[Latency]:
    feeds = held_out.batch(0, 1)
    turns: dict[str, Callable[[], object]] = {}
    for number, runner in enumerate(runners):
        turns[f"prepare {number}"] = functools.partial(_prepare, runner, feeds)
        turns[f"call {number}"] = functools.partial(runner, feeds)
    timed = interleaved_latency(turns, rounds=rounds, warmup=WARMUP_ROUNDS)
    return [timed[f"call {number}"] for number in range(len(runners))]


def _prepare(runner: Runner, feeds: dict[str, np.ndarray]) -> None:
    """Let the last model's threads go to sleep, then wake this one's and fill the caches: an untimed call."""
    time.sleep(REST_S)
    runner(feeds)


def _row(one: Contender, engine: str, judgement: Judgement, latency: Latency, baseline: Latency) -> dict[str, Any]:
    measured = judgement.metrics
    return {
        "file": one.file_name,
        "made_by": one.made_by,
        "is_ours": one.is_ours,
        "engine": engine,
        "precision": one.precision,
        "size_bytes": len(one.content),
        "verdict": verdict(judgement),
        "cosine": _number(measured.cosine),
        "relative_l2": _number(measured.relative_l2),
        "sensitivity_ratio": _number(measured.sensitivity_ratio),
        "top1_agreement": _number(measured.top1_agreement),
        "accuracy": _number(measured.accuracy),
        "median_ms": round(latency.median_ms, 3),
        "p10_ms": round(latency.p10_ms, 3),
        "p90_ms": round(latency.p90_ms, 3),
        "speedup": round(paired_ratio(baseline, latency), 3),
        "samples_ms": [round(sample, 3) for sample in latency.samples_ms],
    }


def verdict(judgement: Judgement) -> str:
    """Collapsed goes first: such a model may still have a high cosine."""
    if judgement.metrics.sensitivity_ratio < COLLAPSED_BELOW:
        return "collapsed"
    return "within bounds" if judgement.passed else "out of bounds"


def _number(value: float | None) -> float | None:
    """JSON has no NaN; a metric that cannot be measured is null, and its verdict is never ``within bounds``."""
    return None if value is None or not np.isfinite(value) else float(value)
