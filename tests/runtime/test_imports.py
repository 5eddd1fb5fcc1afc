"""What a device loads: the engine and numpy, nothing of the compiler's."""

import json
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import sys
import numpy as np
from perceiver_edge.runtime import load
print(load(sys.argv[1])(np.load(sys.argv[2])).tolist())
print([name for name in ("tensorflow", "keras", "onnx", "tf2onnx", "torch", "rich") if name in sys.modules])
"""


@pytest.mark.parametrize("model", ["float_tflite", "int8_tflite", "float_onnx"])
def test_running_a_model_imports_no_compiler(model, batch, request, tmp_path):
    path, feed = tmp_path / "model", tmp_path / "batch.npy"
    path.write_bytes(request.getfixturevalue(model))
    np.save(feed, batch)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, path, feed], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    logits, compilers = done.stdout.splitlines()
    assert np.shape(json.loads(logits)) == (1, 3)
    assert compilers == "[]"
    assert done.stderr == ""
