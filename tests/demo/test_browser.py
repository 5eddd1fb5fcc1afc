"""Models in a headless browser answer as they do here."""

import sys

import numpy as np
import pytest

from perceiver_edge.demo.browser import browser_outputs, headless_browser
from perceiver_edge.errors import BadInputError, NotRunError
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.metrics import relative_l2
from perceiver_edge.runtime import load

SAMPLES = 50
FORMATS = {"litertjs": "tflite", "onnxruntime-web": "onnx"}


@pytest.fixture
def held_out(digits):
    return HeldOut.from_bytes(digits.read(HELD_OUT_NAME), where="")


@pytest.mark.devices
@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("engine", FORMATS)
def test_held_out_digits(engine, precision, threads, digits, held_out):
    model = digits.read(f"digits_{precision}.{FORMATS[engine]}")
    images = held_out.inputs["input"][:SAMPLES]
    run = browser_outputs(model, {"input": images}, engine=engine, threads=threads)
    gates = Gates.for_precision(precision)
    here = np.stack([load(model)(image) for image in images])
    assert run.outputs.dtype == np.float32
    assert relative_l2(here, run.outputs) <= gates.relative_l2
    assert judge(held_out.reference[:SAMPLES], run.outputs, gates=gates, is_classifier=True).passed
    assert len(run.times_ms) == SAMPLES
    assert min(run.times_ms) > 0


@pytest.mark.devices
@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("engine", FORMATS)
def test_a_file_that_is_no_model_is_refused_in_the_engines_words(engine):
    with pytest.raises(BadInputError, match="did not run the model"):
        browser_outputs(b"no model at all", {"input": np.zeros((1, 2), np.float32)}, engine=engine)


def test_a_dtype_that_is_not_fed():
    with pytest.raises(BadInputError, match="float64"):
        browser_outputs(b"", {"input": np.zeros((1, 2))}, engine="litertjs")


@pytest.mark.parametrize("lengths", [(0, 0), (2, 3)])
def test_inputs_of_unequal_or_no_length(lengths):
    inputs = {name: np.zeros((length, 4), np.float32) for name, length in zip("ab", lengths, strict=True)}
    with pytest.raises(BadInputError, match="side by side"):
        browser_outputs(b"", inputs, engine="litertjs")


def test_without_selenium(monkeypatch):
    monkeypatch.setitem(sys.modules, "selenium", None)
    with pytest.raises(NotRunError, match=r"pip install 'perceiver-edge\[browser\]'"), headless_browser():
        pass


def test_without_a_browser(monkeypatch, tmp_path):
    pytest.importorskip("selenium")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotRunError, match="apt-get install chromium"), headless_browser():
        pass


def test_without_the_npm_packages(tmp_path):
    with pytest.raises(NotRunError, match="npm install"):
        browser_outputs(b"", {"x": np.zeros((1, 2), np.float32)}, engine="litertjs", node_modules=tmp_path)
