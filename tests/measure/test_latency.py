"""Which models are loaded at once, and that each is measured."""

import weakref

import numpy as np
import pytest

from perceiver_edge.measure import latency

FILES = {"a_fp32.tflite": b"1234", "a_fp32.onnx": b"6789", "a_int8.tflite": b"5", "a_int8.onnx": b"0"}


class Samples:
    """What `measure_latency` asks of held-out samples."""

    def batch(self, index, size):
        return {"input": np.zeros((size, 2), np.float32)}


@pytest.fixture
def most_at_once(monkeypatch):
    """How many runners were alive when each was loaded."""
    alive, counts = weakref.WeakSet(), []

    class Runner:
        batch_size = 1

        def __init__(self, content, **_):
            alive.add(self)
            counts.append(len(alive))

        def __call__(self, feeds):
            return feeds["input"]

    monkeypatch.setattr(latency, "load", Runner)
    monkeypatch.setattr(latency, "_BUDGET_S", 0.0)
    return counts


@pytest.mark.parametrize(("limit_bytes", "most"), [(10, 4), (9, 2)], ids=["small", "large"])
def test_large_files_are_loaded_format_by_format(limit_bytes, most, most_at_once, monkeypatch):
    monkeypatch.setattr(latency, "TOGETHER_BYTES", limit_bytes)
    measured = latency.measure_latency(FILES, Samples(), threads=1)
    assert max(most_at_once) == most
    assert list(measured.artefacts) == list(FILES)
    assert all(len(times["samples_ms"]) == measured.rounds == 5 for times in measured.artefacts.values())
