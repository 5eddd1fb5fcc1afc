"""The products of attention among rows, from float to int8 in a finished TFLite model.

Queries, keys and values come in int8 from their product and stay so, also where a constant is taken from values; the
softmax between the two products is float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.core_params import ROW_SCOPE, Affine, RowParams, core_name, require_cores
from perceiver_edge.converters.tflite.int8_editor import Int8Editor

_Op = schema.BuiltinOperator

AS_IT_IS = Affine(1.0)
"""Stands for the scale of what is int8 already."""


def with_int8_rows(model: bytes, params: Mapping[str, RowParams]) -> bytes:
    """Quantise both products of every self-attend in its int8 form; the products with weights are int8 already.

    Args:
        params: by self-attend, ``layers.<i>.<block>``: just those that the model has in their int8 form.

    Raises:
        ConversionError: the model has others than ``params``.
    """
    editor = Int8Editor(model)
    exponentials = {
        core_name(editor.name(op.outputs[0])): op
        for op in editor.graph.operators
        if editor.kind(op) == _Op.EXP and f"/{ROW_SCOPE}/" in editor.name(op.outputs[0])
    }
    require_cores(exponentials, params, "TFLite")
    for name, op in exponentials.items():
        _quantise(editor, op, params[name])
    editor.drop_unread()
    return editor.to_bytes()


def _quantise(editor: Int8Editor, exponential: Any, params: RowParams) -> None:
    weights = exponential.outputs[0]
    scores = editor.producer(editor.producer(exponential.inputs[0]).inputs[0])
    (average,) = (op for op in editor.readers(weights) if editor.kind(op) == _Op.BATCH_MATMUL)
    (division,) = editor.readers(average.outputs[0])
    query, key = (_projected(editor, tensor) for tensor in scores.inputs)
    _become_int8(editor, scores, [query, key], params.scores)
    rounded = editor.quantised(weights, params.weights)
    result = division.outputs[0]
    if params.shift is not None:
        shift = editor.producer_past_moves(average.inputs[1])
        inputs = [_projected(editor, shift.inputs[0]), editor.quantised(shift.inputs[1], params.shift)]
        _become_int8(editor, shift, inputs, params.shift)
        (given_back,) = editor.readers(result)
        (result,) = given_back.outputs
    _become_int8(editor, average, [rounded, _projected(editor, average.inputs[1])], params.weighted)
    quantisation = editor.reader_past_moves(result)
    if quantisation is not None and editor.kind(quantisation) == _Op.QUANTIZE:
        editor.move_quantisation_up(quantisation)


def _projected(editor: Int8Editor, tensor: int) -> int:
    """Queries, keys or values as their product gave them: the scale asked for is found there."""
    return editor.quantised(tensor, AS_IT_IS)


def _become_int8(editor: Int8Editor, op: Any, inputs: list[int], result: Affine) -> None:
    op.inputs = inputs
    editor.dequantise_output(op, result)
    editor.set_version(op, editor.kind(op), 2)  # the first with int8, of products and of differences
