"""Latency of several runners, measured in turns so that drift (heat, neighbours) hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from perceiver_edge.errors import BadInputError


@dataclass(frozen=True)
class Latency:
    """Wall-clock times of one runner, in milliseconds; ``samples_ms[i]`` is from round i."""

    samples_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return float(np.median(self.samples_ms))

    @property
    def p10_ms(self) -> float:
        return float(np.percentile(self.samples_ms, 10))

    @property
    def p90_ms(self) -> float:
        return float(np.percentile(self.samples_ms, 90))


def interleaved_latency(runners: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int) -> dict[str, Latency]:
    """Call the runners A B C A B C … and time each call.

    Args:
        runners: name to a call that runs one inference.
        rounds: timed calls per runner, at least 1.
        warmup: untimed rounds before them, at least 0.

    Raises:
        BadInputError: `rounds` or `warmup` is too small.
    """
    if rounds < 1 or warmup < 0:
        raise BadInputError(
            "Too few rounds to time.", expected="rounds of at least 1, warmup of at least 0", got=(rounds, warmup)
        )
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(warmup + rounds):
        for name, call in runners.items():
            start = time.perf_counter()
            call()
            elapsed_ms = 1000 * (time.perf_counter() - start)
            if turn >= warmup:
                samples[name].append(elapsed_ms)
    return {name: Latency(tuple(times)) for name, times in samples.items()}


def paired_ratio(a: Latency, b: Latency) -> float:
    """Median over rounds of a's time over b's: above 1 where b is the faster one.

    Raises:
        BadInputError: the two were not measured in the same number of rounds.
    """
    if len(a.samples_ms) != len(b.samples_ms):
        raise BadInputError(
            "Only latencies measured in the same rounds can be paired.",
            expected=f"{len(a.samples_ms)} samples",
            got=f"{len(b.samples_ms)} samples",
        )
    return float(np.median(np.divide(a.samples_ms, b.samples_ms)))
