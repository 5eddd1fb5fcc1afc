"""The core of every cross-attend that was traced in its int8 form, from float to int8 in a finished TFLite model.

ai-edge-quantizer knows no int8 ELU, and would leave a float island between the products; so the flatbuffer is edited
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.core_params import CoreParams, core_name, require_cores, require_sum
from perceiver_edge.converters.tflite.int8_editor import Int8Editor

_Op = schema.BuiltinOperator


def with_int8_cores(model: bytes, params: Mapping[str, CoreParams]) -> bytes:
    """Quantise every core; products with weights around them may be int8 already.

    Args:
        params: by cross-attend, ``layers.<i>.<block>``: just those that the model has in their int8 form.

    Raises:
        ConversionError: the model has other cores than ``params``.
    """
    editor = Int8Editor(model)
    exponentials = [op for op in editor.graph.operators if editor.kind(op) == _Op.ELU]
    require_cores((core_name(editor.name(op.outputs[0])) for op in exponentials), params, "TFLite")
    for op in exponentials:
        _quantise_chunk(editor, op, params[core_name(editor.name(op.outputs[0]))])
    editor.drop_unread()
    return editor.to_bytes()


def _quantise_chunk(editor: Int8Editor, exponential: Any, params: CoreParams) -> None:
    scores, weights = exponential.inputs[0], exponential.outputs[0]
    product = editor.producer(scores)
    product.inputs = [
        editor.quantised(product.inputs[0], params.query), editor.quantised(product.inputs[1], params.keys)
    ]  # fmt: skip
    editor.set_version(product, _Op.BATCH_MATMUL, 2)  # the first with int8
    editor.become_int8(scores, params.scores)
    editor.become_int8(weights, params.weights)
    for reader in editor.readers(weights):
        if editor.kind(reader) == _Op.SUM:
            # TensorFlow's converter puts all sums last; until then every chunk's weights would be kept.
            editor.move_after(exponential, reader)
            editor.dequantise_output(reader, params.total)
            editor.set_version(reader, _Op.SUM, 2)
        else:
            reader.inputs = [weights, _rounded_values(editor, reader.inputs[1], params)]
            editor.dequantise_output(reader, params.weighted)
            editor.set_version(reader, _Op.BATCH_MATMUL, 2)


def _rounded_values(editor: Int8Editor, values: int, params: CoreParams) -> int:
    """A chunk's values in int8; who sums them up reads what they were rounded to, from the first core on."""
    rounded = editor.quantised(values, params.values)
    for reader in editor.readers(values):
        if editor.kind(reader) == _Op.SUM:
            reader.inputs = [editor.dequantised(rounded), *reader.inputs[1:]]
            editor.move_after(editor.producer(reader.inputs[0]), reader)
            editor.summed.add(values)
    require_sum(values in editor.summed, editor.name(values), "TFLite")
    return rounded
