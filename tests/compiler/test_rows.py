"""Self-attends whose products run in int8: chosen by what they lose, held to their integers, and as the file says."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.calibration import Range, Ranges, quant_params
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler import row_choice, rows
from perceiver_edge.compiler.integer_arithmetic import rows_lost
from perceiver_edge.compiler.pipeline import compile as compile_
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError
from perceiver_edge.lowering import row_attention, row_core

CONFIG, SPEC = PRESETS["tiny"]
CONFIG = dataclasses.replace(CONFIG, weight_tie_layers=True, depth=3)
MODEL = Checkpoint(config=CONFIG, input_spec=SPEC, weights=init_weights(CONFIG, 0))
USES = [f"layers.{index}.self_attn.0" for index in range(CONFIG.depth)]
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


def in_int8(bundle) -> int:
    return products(artefact(bundle)).count((schema.TensorType.INT8, schema.TensorType.INT8))


def products_with_weights(model: bytes, scope: str) -> list[tuple]:
    """What an engine packs of each: weights and bias, and scale and zero point of its input and output."""
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    root, found = schema.Model.GetRootAs(model, 0), []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        tensors = [graph.Tensors(operator.Inputs(place)) for place in range(operator.InputsLength())]
        result = graph.Tensors(operator.Outputs(0))
        code = root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code == schema.BuiltinOperator.FULLY_CONNECTED and scope in result.Name().decode():
            scaled = [(t.Quantization().Scale(0), t.Quantization().ZeroPoint(0)) for t in (tensors[0], result)]
            found.append((*(tensor.Buffer() for tensor in tensors[1:]), *scaled))
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


def test_each_use_runs_in_int8_or_in_float_is_held_to_its_integers_and_packed_once(compiled):
    bundle = compiled()  # both formats; the gate `layer_error` holds each layer to `attend_rows`
    ranges = Ranges.from_json((bundle.path / "calibration.json").read_text())
    assert [*ranges.row_layers] == USES[:2]  # layer 2 is layer 1 once more
    assert [*ranges.rows] == USES
    assert ranges.rows[USES[1]].weighted != ranges.rows[USES[2]].weighted
    assert [len(row.shift) for row in ranges.rows.values()] == [0, 32, 32]  # of one use the layer's mean is its own
    every = in_int8(bundle)

    del ranges.rows[USES[0]], ranges.rows[USES[2]]  # a layer's only use, and one of two
    bundle = compiled(calibration=ranges, formats=("tflite",))
    assert in_int8(bundle) == every - 4
    one, other = (products_with_weights(artefact(bundle), f"{use}/") for use in USES[1:])
    assert len(one) == 2 and one == other


def test_what_loses_too_much_stays_in_float(compiled, monkeypatch):
    monkeypatch.setattr(row_choice, "TOLERANCE", 1e-6)
    bundle = compiled(formats=("tflite",))
    ranges = Ranges.from_json((bundle.path / "calibration.json").read_text())
    assert ranges.rows == ranges.row_layers == {}
    (decision,) = (d for d in bundle.manifest.lowering if d.rule == "row_core")
    assert not decision.applied and decision.reason.startswith("0 of 3 self-attends in TFLite; all would lose ")


def test_no_tflite_file_no_rows(compiled):
    bundle = compiled(formats=("onnx",))
    assert Ranges.from_json((bundle.path / "calibration.json").read_text()).rows == {}
    (decision,) = (d for d in bundle.manifest.lowering if d.rule == "row_core")
    assert (decision.applied, decision.reason) == (False, "no TFLite file is made")


def of_scores(sharpness):
    """Attention of 512 rows, whose scores grow with ``sharpness``."""
    random = np.random.default_rng(2)
    query, key, value = (tf.constant(random.standard_normal((1, 2, 512, 16)), tf.float32) for _ in range(3))
    query, key, value = query * sharpness, key + 3.0, value + 3.0
    return row_attention.RowOperands(query, key, value, row_attention.attend(query, key, value, None))


def chosen(uses, *, mean=3.0, own_means=None):
    """Of uses of one layer, with the means that all of them have, or each its own."""
    repeated = {f"layers.{index}": "layers.0" for index in range(1, len(uses))}
    named = {f"layers.{index}.self_attn.0": operands for index, operands in enumerate(uses)}
    given = dict(zip(named, (np.full(64, of_use) for of_use in own_means or [mean] * len(uses)), strict=True))

    def losses(given):
        assert given.layers.keys() == given.uses.keys() == named.keys()
        centrings, shifts, params = rows.centrings_of(given), rows.shifts_of(given), rows.row_params_of(given)
        return lambda _: {
            name: rows_lost(
                operands, centrings[name], shifts[name], rows.values_of(given.layers[name]), params[name]
            ).numpy()
            for name, operands in named.items()
        }

    def extents(_, means, shifts):
        centres = {n: [tf.constant(given[n], tf.float32) for given in (means, shifts)] for n in named}
        found = {n: row_attention.extents(o, *centres[n]) for n, o in named.items()}
        return {name: {key: value.numpy() for key, value in values.items()} for name, values in found.items()}

    return row_choice.choose_rows(
        lambda _: given, extents, losses, [{"input": np.zeros(1)}],
        value_channels=dict.fromkeys(named, 32), repeated=repeated, formats=("tflite",),
    )  # fmt: skip


def error_of(uses, **mean):
    (row,) = chosen(uses, **mean)[1].values()
    return row.error


def test_diffuse_and_sharp_rows_lose_little_and_values_off_centre_more():
    assert 0 < error_of([of_scores(0.3)]) < 0.02
    assert 0 < error_of([of_scores(2.0)]) < 0.02
    assert error_of([of_scores(0.3)], mean=2.5) > 1.5 * error_of([of_scores(0.3)])


def test_each_use_of_a_layer_has_ranges_of_its_own_for_scores_and_sums():
    diffuse, sharp = of_scores(1.0), of_scores(20.0)
    layers, found, _ = chosen([diffuse, sharp])
    assert len(layers) == 1
    # One step of the sharp one's scores would be much of the diffuse one's, and its sums are small.
    assert [row.error for row in found.values()] == pytest.approx([error_of([diffuse]), error_of([sharp])], rel=0.1)


def test_each_use_of_a_layer_is_centred_by_its_own_mean():
    here, there = of_scores(0.3), of_scores(0.3)
    there = dataclasses.replace(there, value=there.value + 1.0, attended=there.attended + 1.0)
    _, own, _ = chosen([here, there], own_means=[3.0, 4.0])
    _, same, _ = chosen([here, there], mean=3.5)
    assert [row.shift for row in own.values()] == [(-0.5,) * 32, (0.5,) * 32]
    assert [row.shift for row in same.values()] == [(), ()]
    for mine, other in zip(own.values(), same.values(), strict=True):
        assert mine.error < 0.7 * other.error


def test_each_use_of_a_layer_is_judged_by_itself():
    layers, found, decision = chosen([of_scores(1.0), of_scores(60.0)])
    assert [*layers] == [*found] == ["layers.0.self_attn.0"]
    assert decision.applied and "1 of 2" in decision.reason and "; layers.1.self_attn.0 would lose" in decision.reason
    layers, found, _ = chosen([of_scores(60.0), of_scores(1.0)])
    assert [*layers] == ["layers.0.self_attn.0"] and [*found] == ["layers.1.self_attn.0"]


def test_nothing_attended_to_is_lost_and_no_nan():
    zeros = tf.zeros((1, 2, 8, 16))
    layers, found, decision = chosen([row_attention.RowOperands(zeros, zeros, zeros, zeros)], mean=0.0)
    assert not layers and not found and "nan" not in decision.reason


def test_lines_of_a_calibration_that_this_model_does_not_have_are_refused():
    layers, found, _ = chosen([of_scores(0.3), of_scores(0.3)])
    ranges = Ranges(
        points={}, cores={}, method="minmax", num_samples=1, source="", is_random=False, digests=frozenset(),
        fingerprint="", row_layers=layers, rows=found,
    )  # fmt: skip
    channels, repeated = (
        dict.fromkeys(("layers.0.self_attn.0", "layers.1.self_attn.0"), (32, 32)),
        {"layers.1": "layers.0"},
    )
    ranges.require_rows(channels, repeated)
    dataclasses.replace(ranges, rows={}).require_rows(channels, repeated)
    for wrong, message in (
        (({"layers.2.self_attn.0": (32, 32)}, {}), "a layer of self-attends that this model cannot run"),
        (({}, {}), "a layer of self-attends"),
        ((dict.fromkeys(channels, (31, 32)), repeated), "64 means"),
        ((channels, {}), "a self-attend that this model cannot run"),  # the second use is no use of this layer
    ):
        with pytest.raises(BadInputError, match=message):
            ranges.require_rows(*wrong)
    with pytest.raises(BadInputError, match="a layer under row_layers"):
        dataclasses.replace(ranges, row_layers={}).require_rows(channels, repeated)


@pytest.mark.parametrize("limits", [(-4.70121, 9.69031), (-7.0, -6.0), (82.0, 235.0), (-1.0, 1000.0), (0.0, 0.0)])
def test_no_weight_lies_where_the_last_bit_of_exp_decides(limits):
    def nearest(scores):
        step = quant_params(scores).scale
        weights = 255 * np.exp(-step * np.arange(1, 6.3 / step))
        return np.abs(weights % 1 - 0.5).min(initial=0.5)

    given = Range(*limits)
    wider = rows.off_ties(given)
    assert wider.min == given.min and given.max <= wider.max <= given.max + 0.07 * (given.max - given.min)
    assert nearest(wider) >= min(nearest(given), 2e-3)
    assert nearest(wider) > 1e-3 or quant_params(wider).scale < 0.03  # of fine steps none weighs much
