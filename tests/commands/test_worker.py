"""A worker of a compiled bundle's models, as `benchmark` starts it."""

import sys
import time

import numpy as np
import pytest

from perceiver_edge.measure.worker import Worker


def test_a_weight_cache_is_kept_where_it_is_asked_for(compiled, tmp_path):
    np.savez(tmp_path / "inputs.npz", input=np.ones((2, 16, 16, 3), np.float32))
    file, cache = compiled / "tiny_fp32.tflite", tmp_path / "cache"
    options = ["--engine", "litert", "--threads", "1", "--batch", "1"]
    command = [sys.executable, "-m", "perceiver_edge.measure.worker", str(file), str(tmp_path / "inputs.npz"), *options]
    answers = []
    for more in ([], ["--weight-cache", str(cache)]):
        with Worker([*command, *more]) as worker:
            worker.start()
            answers.append(worker.outputs())
    np.testing.assert_array_equal(*answers)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="processor time is read from /proc")
@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_an_idle_worker_takes_no_processor_time(engine, compiled, tmp_path):
    """Else it would slow down whoever is timed next."""
    np.savez(tmp_path / "inputs.npz", input=np.zeros((1, 16, 16, 3), np.float32))
    file = compiled / ("tiny_fp32.tflite" if engine == "litert" else "tiny_fp32.onnx")
    options = ["--engine", engine, "--threads", "2", "--batch", "1"]
    command = [sys.executable, "-m", "perceiver_edge.measure.worker", str(file), str(tmp_path / "inputs.npz"), *options]
    with Worker(command) as worker:
        worker.start()
        worker.turn()
        time.sleep(0.05)  # what side_by_side grants it to fall asleep
        before = _processor_ticks(worker.pid)
        time.sleep(0.5)
        assert _processor_ticks(worker.pid) - before <= 1


def _processor_ticks(pid):
    """Hundredths of a second, of all threads."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
