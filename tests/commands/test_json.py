"""What commands print with ``--json`` has the shape that docs/output.schema.json promises."""

import json
from pathlib import Path

import pytest

from perceiver_edge.commands import benchmark, convert, inspect, verify
from perceiver_edge.commands.tables import SCHEMA_VERSION

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "output.schema.json").read_text())
VALID = jsonschema.Draft202012Validator(SCHEMA)

KEYS = {
    "bundle": "latency manifest parity path stages",
    "plan": "files gates input_shape is_random_weights lowering model needs_overwrite notices num_calibration "
    "num_held_out output samples_source weights_fingerprint",
    "parity": "artefacts gate_overrides is_random_data is_random_weights num_samples passed samples_source",
    "matrix": "device num_samples rows samples_source",
    "benchmark": "device pause_ms profiles rows threads",
    "throughput": "device rows",
    "inspection": "bytes file format sha256",
}
"""Of each kind, beside `kind` and `schema_version`: what readers may count on. One that goes makes another version."""


@pytest.fixture
def printed(compiled, tiny, tmp_path, capsys):
    """From a kind to the document that a command printed."""
    model = str(compiled / "tiny_int8.tflite")
    commands = {
        "bundle": (convert, [*tiny, "--quiet", "--output", str(tmp_path / "out")]),
        "plan": (convert, [*tiny, "--dry-run"]),
        "parity": (verify, [str(compiled), "--quiet"]),
        "matrix": (verify, [str(compiled), "--quiet", "--runtimes", "onnxruntime", "--samples", "2"]),
        "benchmark": (benchmark, [str(compiled), "--quiet", "--threads", "1", "--profile"]),
        "throughput": (benchmark, [str(compiled), "--quiet", "--streams", "2"]),
        "inspection": (inspect, [model]),
    }

    def document(kind):
        module, arguments = commands[kind]
        assert module.main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return document


def kinds():
    return [option.get("properties", option.get("allOf", [{}, {}])[-1].get("properties"))["kind"]["const"]
            for option in SCHEMA["oneOf"]]  # fmt: skip


@pytest.mark.parametrize("kind", kinds())
def test_a_document_fits_the_schema(kind, printed):
    document = printed(kind)
    assert (document["kind"], document["schema_version"]) == (kind, SCHEMA_VERSION)
    assert [error.message for error in VALID.iter_errors(document)] == []
    assert set(document) >= {"kind", "schema_version", *KEYS[kind].split()}
    assert required(kind) == {"kind", "schema_version", *KEYS[kind].split()}


def required(kind):
    (found,) = (option for option, name in zip(SCHEMA["oneOf"], kinds(), strict=True) if name == kind)
    parts = [SCHEMA["$defs"]["proof"], found["allOf"][1]] if "allOf" in found else [found]
    return {key for part in parts for key in part["required"]}


def test_a_failed_gate_prints_the_proof(tiny, capsys):
    gated = [*tiny, "--gate", "cosine=1", "--only", "--formats", "onnx", "--quiet", "--json"]
    assert convert.main(gated) == 1
    document = json.loads(capsys.readouterr().out)
    VALID.validate(document)
    assert (document["kind"], document["passed"]) == ("parity", False)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
