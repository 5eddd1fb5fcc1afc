"""Damaged models: an engine may end a process over one, which is why strangers' files run in a child; nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "engine_worker.py"
SHORT, LONG = 60, 10_000
MOST_ENDS = 0.1
"""Share of mutants over which an engine may end its process: more would say that its own checks are off."""


def outcomes(model: Path, start: int, count: int) -> Counter[str]:
    """How many mutants ran, were refused, or ended the child; a fault is an outcome of its own."""
    found: Counter[str] = Counter()
    at, end = start, start + count
    while at < end:
        child = subprocess.run(
            [sys.executable, str(WORKER), str(model), str(at), str(end - at)],
            capture_output=True, text=True, check=False, timeout=3600,
        )  # fmt: skip
        lines = [line.split(" ", 1) for line in child.stdout.splitlines()]
        found.update(what for _, what in lines if what != "begun")
        if not lines:
            raise AssertionError(child.stderr[-2000:])
        last, what = lines[-1]
        if what == "begun":
            found["ended the child"] += 1
        at = int(last) + 1
    return found


def check(compiled, name, start, count):
    found = outcomes(compiled / name, start, count)
    assert not [what for what in found if what.startswith("FAULT")], found
    assert found.total() == count
    assert found["ended the child"] <= MOST_ENDS * count, found


@pytest.mark.parametrize("name", ["tiny_int8.tflite", "tiny_int8.onnx"])
def test_damaged_models_are_refused_or_run(tiny_bundle, name):
    check(tiny_bundle, name, 0, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny_int8.tflite", "tiny_fp32.tflite", "tiny_int8.onnx", "tiny_fp32.onnx"])
def test_ten_thousand_damaged_models_are_refused_or_run(tiny_bundle, name):
    check(tiny_bundle, name, SHORT, LONG)
