"""Concrete function → float ONNX model, with tf2onnx and two fusions of our own."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from perceiver_edge.converters.onnx.canonical import canonical
from perceiver_edge.converters.onnx.fusion import fuse
from perceiver_edge.converters.onnx.graph import name_by_site, separate_residuals
from perceiver_edge.errors import BadInputError, ConversionError

if TYPE_CHECKING:
    from perceiver_edge.converters.trace import Traced

TRACED_OPSET = 18
"""The newest opset that tf2onnx 1.17 is sure of; later ones are reached with ONNX's own version converter."""

LATEST_OPSET = 20


def to_onnx(traced: Traced, *, opset: int = TRACED_OPSET) -> onnx.ModelProto:
    """Convert to float32 ONNX: one Gemm per site, LayerNormalization, and GELU in the form that fuses.

    tf2onnx is given the graph with its weights as inputs, which become initialisers afterwards: it copies constants
    many times over, and the README model took 42 s and 14 GB with them and takes 2 s without.

    Raises:
        BadInputError: opset out of range.
        ConversionError: an operator has no ONNX counterpart; the message names it.
        onnx.checker.ValidationError: the result is not valid ONNX (a defect of ours).
    """
    if not TRACED_OPSET <= opset <= LATEST_OPSET:
        raise BadInputError("The ONNX opset is out of range.", expected=f"{TRACED_OPSET} to {LATEST_OPSET}", got=opset)
    weights = _weights(traced)
    model = _tf2onnx(traced)
    _require_known_operators(model)
    if opset != TRACED_OPSET:
        model = onnx.version_converter.convert_version(model, opset)
    model = fuse(onnx.shape_inference.infer_shapes(model), opset=opset)
    model = canonical(name_by_site(separate_residuals(_with_initializers(model, weights))))
    onnx.checker.check_model(model, full_check=True)
    return model


def translate(traced: Traced) -> onnx.ModelProto:
    """What tf2onnx alone makes of the trace, with none of our fusions: what others' quantisers are compared on."""
    return _with_initializers(_tf2onnx(traced), _weights(traced))


def _weights(traced: Traced) -> dict[str, np.ndarray]:
    captures = traced.function.graph.captures
    return {placeholder.name: np.asarray(memoryview(tensor)) for tensor, placeholder in captures}  # not copied


def _require_known_operators(model: onnx.ModelProto) -> None:
    """tf2onnx passes on what it cannot translate, under TensorFlow's name."""
    if unknown := sorted({node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)}):
        raise ConversionError(
            "The model cannot be expressed with ONNX operators.",
            expected="operators that ONNX has", got=", ".join(unknown),
        )  # fmt: skip


def _with_initializers(model: onnx.ModelProto, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Turn the inputs that stand for weights into initialisers."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items() if name in used
    )
    return model


def _tf2onnx(traced: Traced) -> onnx.ModelProto:
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")  # a failed conversion is an exception, not a log line
    from tf2onnx import convert

    graph = traced.function.graph
    input_names = [tensor.name for tensor in graph.inputs]
    output = traced.function.outputs[0].name
    renamed = dict(zip(input_names, traced.input_names, strict=False)) | {output: traced.output_name}
    tensorflow_log = logging.getLogger("tensorflow")
    level = tensorflow_log.level
    tensorflow_log.setLevel(logging.ERROR)  # tf2onnx calls deprecated functions of TensorFlow's
    try:
        model, _ = convert.from_graph_def(
            graph.as_graph_def(), name="perceiver", input_names=input_names, output_names=[output],
            opset=TRACED_OPSET, tensors_to_rename=renamed,
        )  # fmt: skip
    finally:
        tensorflow_log.setLevel(level)
    return model
