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


BROKEN = """
import importlib.abc, sys
class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            raise ImportError("DLL load failed: libgomp.so.1", name=name)
sys.meta_path.insert(0, Broken())
from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.measure.profile import onnx_profile
from perceiver_edge.runtime import load, probe
from perceiver_edge.runtime.onnxruntime_cuda import OnnxRuntimeCudaRunner
content = open(sys.argv[2], "rb").read()
uses = [lambda: load(content), lambda: probe(content, ["logits"])]
if "onnx" in sys.argv[1]:
    uses += [lambda: onnx_profile(content, {}, threads=1), lambda: OnnxRuntimeCudaRunner(content, where="")]
for use in uses:
    try:
        use()
    except PerceiverEdgeError as error:
        print(" ".join(str(error).split()))
"""


@pytest.mark.parametrize(
    ("model", "broken"), [("float_tflite", "ai_edge_litert.interpreter"), ("float_onnx", "onnxruntime.capi")]
)
def test_a_broken_engine_is_not_told_as_missing(model, broken, request, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(request.getfixturevalue(model))
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, broken, path], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) == (4 if model == "float_onnx" else 2)
    for one in told:
        assert "is installed and cannot be imported" in one
        assert "got: DLL load failed: libgomp.so.1" in one
