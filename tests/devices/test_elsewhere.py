"""Another Python, started with nothing of this package's environment but one engine."""

import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.devices import arm64, tflite_runtime
from perceiver_edge.devices.elsewhere import FOLDER_VARIABLE, outputs_of
from perceiver_edge.errors import BadInputError, NotRunError
from perceiver_edge.runtime import load

onnx = pytest.importorskip("onnx")


@pytest.fixture
def model():
    """``logits = -input``, two samples a call."""
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["input"], ["logits"])],
        "negate",
        [onnx.helper.make_tensor_value_info("input", float32, [2, 4])],
        [onnx.helper.make_tensor_value_info("logits", float32, [2, 4])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_samples_go_in_batches_and_come_back_as_many(count, model, held_out):
    inputs = held_out.first(count).inputs
    np.testing.assert_array_equal(load(model).batch(inputs), -inputs["input"])


def test_another_python_answers_with_this_versions_runtime(model, held_out, tmp_path):
    """Isolated from this environment's site-packages, so what it imports of this package is the copy."""
    packages = Path(np.__file__).parents[1]
    answer = outputs_of([sys.executable, "-S"], model, held_out.inputs, packages=packages)
    np.testing.assert_array_equal(answer, -held_out.inputs["input"])


def test_a_refusal_elsewhere_has_the_engines_words(held_out):
    with pytest.raises(BadInputError, match="neither a TFLite nor an ONNX model"):
        outputs_of([sys.executable], b"no model", held_out.inputs)


def test_environments_that_were_not_made_are_not_run_and_say_how_to_make_them(held_out, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(NotRunError, match=r"-m perceiver_edge\.devices\.tflite_runtime"):
        tflite_runtime.outputs(b"model", held_out.inputs)
    with pytest.raises(NotRunError, match=r"benchmarks/mobile/arm64\.sh") as raised:
        arm64.outputs(b"model", held_out.inputs, cpu=arm64.CPUS[0], runtime="litert-arm64")
    assert raised.value.runtime == "litert-arm64"


def test_without_a_home_there_is_no_environment_and_that_is_no_failure(held_out, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for variable in (FOLDER_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(NotRunError, match=FOLDER_VARIABLE):
        tflite_runtime.outputs(b"model", held_out.inputs)
