import time

import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import Latency, interleaved_latency, paired_ratio


def test_runners_take_turns():
    calls = []
    timed = interleaved_latency({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=2)
    assert calls == ["a", "b"] * 5
    assert len(timed["a"].samples_ms) == len(timed["b"].samples_ms) == 3


def test_times_are_milliseconds():
    timed = interleaved_latency({"sleep": lambda: time.sleep(0.02)}, rounds=3, warmup=0)
    assert 20 <= timed["sleep"].median_ms < 200


def test_quantiles():
    latency = Latency(tuple(float(i) for i in range(11)))
    assert (latency.p10_ms, latency.median_ms, latency.p90_ms) == (1, 5, 9)


def test_ratio_is_paired_by_round_so_drift_cancels():
    assert paired_ratio(Latency((2.0, 20.0, 200.0)), Latency((1.0, 10.0, 100.0))) == 2
    # The ratio of the medians would be 10 / 4.
    assert paired_ratio(Latency((1.0, 10.0, 12.0)), Latency((1.0, 4.0, 12.0))) == 1


def test_pairs_need_the_same_rounds():
    with pytest.raises(BadInputError, match="same rounds"):
        paired_ratio(Latency((1.0,)), Latency((1.0, 2.0)))


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 1), (1, -1)])
def test_too_few_rounds(rounds, warmup):
    with pytest.raises(BadInputError, match="rounds"):
        interleaved_latency({}, rounds=rounds, warmup=warmup)
