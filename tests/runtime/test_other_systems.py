"""Running a model where Linux's ways to place threads are taken away, as on macOS and Windows."""

import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys
import os
import numpy as np
import ai_edge_litert.interpreter, onnxruntime
sys.platform = sys.argv[3]
for name in ("sched_getaffinity", "sched_setaffinity", "O_CLOEXEC", "pread"):
    delattr(os, name)
sys.modules["resource"] = None
from perceiver_edge.runtime import load
runner = load(sys.argv[1], threads=2)
print(np.shape(runner(np.load(sys.argv[2]))), runner.execution.placement)
"""


@pytest.mark.parametrize("system", ["darwin", "win32"])
@pytest.mark.parametrize("model", ["int8_tflite", "float_onnx"])
def test_a_model_runs_and_the_system_places_its_threads(model, system, batch, request, tmp_path):
    path, feed = tmp_path / "model", tmp_path / "batch.npy"
    path.write_bytes(request.getfixturevalue(model))
    np.save(feed, batch)
    command = [sys.executable, "-c", SCRIPT, path, feed, system]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "system"
