"""Self-attends whose products run in int8: chosen by what they lose, held to their integers, and as the file says."""

import dataclasses

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.calibration import Ranges
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler import rows
from perceiver_edge.compiler.pipeline import compile as compile_
from perceiver_edge.config import PRESETS
from perceiver_edge.lowering import row_core

CONFIG, SPEC = PRESETS["tiny"]
CONFIG = dataclasses.replace(CONFIG, weight_tie_layers=True, depth=3)
MODEL = Checkpoint(config=CONFIG, input_spec=SPEC, weights=init_weights(CONFIG, 0))
SAMPLES = np.random.default_rng(0).random((20, 16, 16, 3), np.float32)


def products(model: bytes) -> list[tuple[int, int]]:
    """The types of both sides of every product of two tensors."""
    root = schema.Model.GetRootAs(model, 0)
    graph, found = root.Subgraphs(0), []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() == schema.BuiltinOperator.BATCH_MATMUL:
            found.append((graph.Tensors(operator.Inputs(0)).Type(), graph.Tensors(operator.Inputs(1)).Type()))
    return found


def artefact(bundle) -> bytes:
    (path,) = bundle.path.glob("*.tflite")
    return path.read_bytes()


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(row_core, "LEAST_PRODUCTS", 0)

    def run(**options: object):
        return compile_(
            MODEL, samples=SAMPLES, num_samples=6, num_held_out=8, output=tmp_path / "out", overwrite=True,
            quantize=("int8",), only=True, cache=False, **options,
        )  # fmt: skip

    return run


def test_every_use_of_a_layer_runs_in_int8_and_is_held_to_its_integers(compiled):
    bundle = compiled()  # both formats; the gate `layer_error` holds each layer to `attend_rows`
    ranges = Ranges.from_json((bundle.path / "calibration.json").read_text())
    assert [*ranges.rows] == ["layers.0.self_attn.0", "layers.1.self_attn.0"]  # layer 2 is layer 1 once more
    both = products(artefact(bundle))
    assert both.count((schema.TensorType.INT8, schema.TensorType.INT8)) >= 2 * CONFIG.depth

    kept = dataclasses.replace(ranges, rows={})
    bundle = compiled(calibration=kept, formats=("tflite",))
    fewer = products(artefact(bundle))
    assert fewer.count((schema.TensorType.FLOAT32, schema.TensorType.FLOAT32)) >= 2 * CONFIG.depth


def test_what_loses_too_much_stays_in_float(compiled, monkeypatch):
    monkeypatch.setattr(rows, "TOLERANCE", 1e-6)
    bundle = compiled(formats=("tflite",))
    assert Ranges.from_json((bundle.path / "calibration.json").read_text()).rows == {}
    (decision,) = (d for d in bundle.manifest.lowering if d.rule == "row_core")
    assert not decision.applied
