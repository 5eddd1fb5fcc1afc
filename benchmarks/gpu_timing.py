"""Time contenders in turns, and set each pair against each other round by round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import numpy as np

from perceiver_edge.runtime import Latency


def elapsed_ms(call: Callable[[], object]) -> float:
    """Wall-clock time of a call that returns when the device is done."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def in_turns(calls: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, Latency]:
    """A B C A B C …, and twice each time: the first, untimed, brings the device's clock and caches back.

    Args:
        calls: name to a call that says its own milliseconds.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            samples[name].append(call())
    return {name: Latency(tuple(times)) for name, times in samples.items()}


def pairwise(latencies: Mapping[str, Latency]) -> list[dict[str, Any]]:
    """For each ordered pair: how many times as long `slow` took as `fast` in the same round, median and spread."""
    ratios = []
    for fast, slow in permutations(latencies, 2):
        by_round = np.divide(latencies[slow].samples_ms, latencies[fast].samples_ms)
        low, middle, high = np.percentile(by_round, [10, 50, 90])
        if middle >= 1:
            ratios.append({"fast": fast, "slow": slow, "ratio": middle, "p10": low, "p90": high})
    return [{key: round(v, 3) if key not in ("fast", "slow") else v for key, v in one.items()} for one in ratios]
