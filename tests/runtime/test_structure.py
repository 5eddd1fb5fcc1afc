"""Graphs that do not hold together are refused before an engine sees them; whole ones are not."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load
from perceiver_edge.runtime.structure import require_structure


def _changed(content, change):
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for operator in _graph(model).operators:
        operator.inputs, operator.outputs = list(operator.inputs), list(operator.outputs)
    for tensor in _graph(model).tensors:
        tensor.shape = list(tensor.shape)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _graph(model):
    return model.subgraphs[0]


def _product(model):
    """Index and operator of the first that reads a constant."""
    return next(op for op in _graph(model).operators if len(op.inputs) > 1)


def _reads_a_tensor_that_is_not(model):
    _product(model).inputs[0] = 1000


def _lacks_an_input(model):
    _product(model).inputs[0] = -1


def _has_an_unknown_code(model):
    _product(model).opcodeIndex = 77


def _computes_a_constant(model):
    operator = _product(model)
    operator.outputs[0] = operator.inputs[1]


def _reads_its_own_result(model):
    operator = _product(model)
    operator.inputs[0] = operator.outputs[0]


def _has_a_short_constant(model):
    buffer = model.buffers[_graph(model).tensors[_product(model).inputs[1]].buffer]
    buffer.data = np.asarray(buffer.data)[: len(buffer.data) // 2]


def _has_a_negative_size(model):
    _graph(model).tensors[_product(model).inputs[1]].shape[0] = -5


def _is_in_a_buffer_that_is_not(model):
    _graph(model).tensors[_product(model).inputs[1]].buffer = 1000


def _has_no_operators(model):
    _graph(model).operators = []


def _has_an_output_that_is_not(model):
    _graph(model).outputs = [1000]


def _has_no_graph(model):
    model.subgraphs = []


CHANGES = [
    _reads_a_tensor_that_is_not, _lacks_an_input, _has_an_unknown_code, _computes_a_constant, _reads_its_own_result,
    _has_a_short_constant, _has_a_negative_size, _is_in_a_buffer_that_is_not, _has_no_operators,
    _has_an_output_that_is_not, _has_no_graph,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
def test_a_graph_that_does_not_hold_together_is_refused(float_tflite, change):
    broken = _changed(float_tflite, change)
    with pytest.raises(BadInputError, match="does not hold together"):
        load(broken)


def test_a_weight_cache_is_made_for_whole_graphs_only(float_tflite, tmp_path):
    (tmp_path / "a.tflite").write_bytes(_changed(float_tflite, _reads_a_tensor_that_is_not))
    with pytest.raises(BadInputError, match="does not hold together"):
        load(tmp_path / "a.tflite", weight_cache=tmp_path / "cache")


def test_scales_that_do_not_fit_are_refused(int8_tflite):
    def change(model):
        quantised = next(t.quantization for t in _graph(model).tensors if t.quantization and _count(t.quantization) > 1)
        quantised.scale = np.asarray(quantised.scale)[:-1]

    with pytest.raises(BadInputError, match="scales"):
        load(_changed(int8_tflite, change))


def _count(quantization):
    return 0 if quantization.scale is None else len(quantization.scale)


@pytest.mark.parametrize("name", ["float_tflite", "int8_tflite"])
def test_a_whole_graph_is_not_refused(name, request):
    content = request.getfixturevalue(name)
    require_structure(content, "bytes")
    require_structure(_changed(content, lambda model: None), "bytes")


def test_every_cut_is_refused_and_ends(float_tflite):
    for size in range(8, len(float_tflite) - 8, 7):
        with pytest.raises(BadInputError):
            load(float_tflite[:size])
