"""What a row says: of a runtime that answers rightly, wrongly, not at all, or that is not here."""

import dataclasses
import json
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from perceiver_edge.bundle.manifest import Artefact, TensorSpec
from perceiver_edge.devices.matrix import run_matrix
from perceiver_edge.devices.runtimes import RUNTIMES, Runtime, chosen
from perceiver_edge.errors import BadInputError, NotRunError, PerceiverEdgeError
from perceiver_edge.progress import silent
from perceiver_edge.proof.gates import Gates


def _runtime(name, run, kind="functional"):
    return Runtime(name=name, formats=("onnx",), kind=kind, about="a test's", run=run, version=lambda: "1.0")


def _exact(model, inputs):
    return inputs["input"]


def _absent(model, inputs):
    raise NotRunError("phone", missing="a phone", fix="connect one")


def _refusing(model, inputs):
    raise BadInputError("No such operator.")


def _crashing(model, inputs):
    raise PerceiverEdgeError("The driver ended.")


@pytest.fixture
def matrix(held_out, monkeypatch):
    """Make the matrix of one artefact, of the native engine that gives the reference, and of others."""
    monkeypatch.setattr("perceiver_edge.devices.matrix.output_step", lambda model: 0.0)
    tensor = TensorSpec(name="input", shape=(1, 2), dtype="float32")
    artefact = Artefact(
        size_bytes=1, sha256="", format="onnx", precision="int8", inputs=(tensor,), outputs=(tensor,)
    )  # fmt: skip

    def make(*others, precision="int8", native=_exact):
        return run_matrix(
            "tiny",
            {"tiny.onnx": (dataclasses.replace(artefact, precision=precision), b"model")},
            held_out,
            runtimes=[*others, _runtime("onnxruntime", native, kind="measured")],
            gates={precision: Gates.for_precision(precision)},
            is_classifier=True,
            is_random_weights=False,
            progress=silent,
        )

    return make


def test_the_native_engine_is_first_and_compared_with_the_reference_alone(matrix):
    native, other = matrix(_runtime("other", _exact)).rows
    assert (native.runtime, native.status, native.native, native.failed) == ("onnxruntime", "measured", None, False)
    assert (other.status, other.version, other.native.metrics.max_abs_error) == ("functional", "1.0", 0.0)
    assert other.reference.metrics.num_samples == 6


def test_a_runtime_that_is_not_here_is_not_run_and_no_failure(matrix):
    row = matrix(_runtime("phone", _absent)).rows[1]
    assert (row.status, row.reason, row.fix, row.failed) == ("not run", "a phone", "connect one", False)
    assert (row.reference, row.native, row.version) == (None, None, None)


def test_a_runtime_that_refuses_the_artefact_is_a_failure(matrix):
    row = matrix(_runtime("old", _refusing)).rows[1]
    assert (row.status, row.reason, row.failed) == ("not run", "No such operator.", True)


def test_a_runtime_that_breaks_is_a_failure_and_the_others_still_run(matrix):
    _, broken, other = matrix(_runtime("gpu", _crashing), _runtime("other", _exact)).rows
    assert (broken.status, broken.reason, broken.failed) == ("not run", "The driver ended.", True)
    assert (other.status, other.failed) == ("functional", False)


@pytest.mark.parametrize(
    "native", [lambda model, inputs: inputs["input"] * np.nan, lambda model, inputs: inputs["input"][:, :2], _crashing],
    ids=["not finite", "of another shape", "none"],
)  # fmt: skip
def test_a_native_engine_that_answers_wrongly_is_a_row_and_others_are_held_to_the_reference(native, matrix):
    broken, other = matrix(_runtime("other", _exact), native=native).rows
    assert (broken.runtime, broken.failed) == ("onnxruntime", True)
    assert (other.failed, other.reference.passed, other.native) == (False, True, None)


def test_answers_of_another_shape_are_a_row_that_says_so(matrix):
    _, broken, other = matrix(_runtime("odd", lambda model, inputs: np.zeros((6, 5))), _runtime("other", _exact)).rows
    assert broken.failed
    assert "shape" in broken.reason
    assert not other.failed


def test_int8_may_be_a_little_off_its_reference_but_not_off_the_native_engine(matrix):
    """An error of 6 % is within the int8 gates and not within those of one artefact on two processors."""

    def off(model, inputs):
        noise = np.random.default_rng(1).normal(size=inputs["input"].shape)
        values = inputs["input"]
        return values + 0.06 * noise * np.linalg.norm(values) / np.linalg.norm(noise)

    row = matrix(_runtime("off", off)).rows[1]
    assert row.reference.passed
    assert [check.name for check in row.native.failures] == ["cosine"]
    assert row.failed


def test_float32_is_held_to_float32s_error_between_processors(matrix):
    row = matrix(_runtime("off", lambda model, inputs: inputs["input"] * np.float32(1.001)), precision="fp32").rows[1]
    assert [check.name for check in row.native.failures] == ["relative_l2"]


def test_another_class_on_another_processor_is_a_failure(matrix):
    row = matrix(_runtime("off", lambda model, inputs: inputs["input"][:, ::-1])).rows[1]
    assert "top1_agreement" in [check.name for check in row.native.failures]


def test_runtimes_that_take_nothing_of_the_bundle_prove_nothing(held_out):
    with pytest.raises(BadInputError, match="These runtimes take none of the artefacts"):
        run_matrix(
            "tiny", {}, held_out, runtimes=RUNTIMES, gates={}, is_classifier=True, is_random_weights=False,
            progress=silent,
        )  # fmt: skip


def test_the_document_is_json_that_keeps_everything(matrix):
    made = matrix(_runtime("phone", _absent), _runtime("nan", lambda model, inputs: inputs["input"] * np.nan))
    document = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert document["runtimes"] == {"onnxruntime": "a test's", "phone": "a test's", "nan": "a test's"}
    assert [row["status"] for row in document["rows"]] == ["measured", "not run", "functional"]
    assert document["rows"][0]["reference"]["passed"] is True
    assert document["rows"][2]["reference"]["metrics"]["cosine"] == "nan"


def test_versions_of_onnxruntime_come_from_the_module_whichever_package_brought_it(monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")

    def uninstalled(distribution):
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr("perceiver_edge.devices.runtimes.version", uninstalled)
    versions = {runtime.name: runtime.version for runtime in RUNTIMES}
    assert versions["onnxruntime"]() == versions["onnxruntime-cuda"]() == onnxruntime.__version__


def test_chosen_runtimes_bring_the_engines_they_are_compared_with():
    assert chosen("all") == RUNTIMES
    assert [runtime.name for runtime in chosen("tflite-runtime")] == ["litert", "tflite-runtime"]
    with pytest.raises(BadInputError, match="No such runtime"):
        chosen("onnxruntime,abacus")
