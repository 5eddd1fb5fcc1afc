"""The versions of operators that a runtime needs: as low as they can be, and true.

A runtime refuses an operator of a version that it does not know. ai-edge-quantizer leaves the versions of the float
model: then an old runtime takes the file and computes something else (tflite-runtime 2.14 with weights per channel and
float activations: noise, without a word).

The numbers are those of TensorFlow's `lite/tools/versioning/op_version.cc`.
"""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.tflite.edit import TfliteEditor

_Op = schema.BuiltinOperator
_FLOAT, _HALF, _INT8 = schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.INT8


def with_needed_versions(editor: TfliteEditor) -> None:
    """Raise the version of every operator that quantisation changed to what it needs now."""
    for operator in editor.graph.operators:
        kind = editor.kind(operator)
        editor.set_version(operator, kind, max(editor.version(operator), _needed(editor, kind, operator)))


def _needed(editor: TfliteEditor, kind: int, operator: Any) -> int:
    tensors = [editor.graph.tensors[index] for index in operator.inputs if index >= 0]
    first = tensors[0].type if tensors else None
    if kind == _Op.FULLY_CONNECTED and tensors[1].type == _INT8:
        if first == _INT8:
            return 4
        return 12 if len(tensors[1].quantization.scale) > 1 else 3
    if kind == _Op.DEQUANTIZE:
        return {_HALF: 3, _INT8: 2}.get(first, 1)
    if kind == _Op.QUANTIZE and first != _FLOAT:
        return 2
    return 1
