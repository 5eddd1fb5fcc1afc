"""Find quantisation points again in a finished artefact: to read their values, and to read their scales."""

from __future__ import annotations

import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from perceiver_edge.converters.onnx_graph import onnx_sites
from perceiver_edge.converters.tflite_graph import tflite_sites


def is_tflite(model: bytes) -> bool:
    """Whether the bytes are a TFLite flatbuffer; the other format is ONNX."""
    return model[4:8] == b"TFL3"


def observable_outputs(model: bytes) -> dict[str, str]:
    """``<site>.output`` → the name of a tensor that `runtime.probe` can read, for every site of an artefact.

    All but one in a dynamically quantised ONNX model: a product whose result is the model's own output loses its name.
    """
    if is_tflite(model):
        return {f"{name}.output": site.output for name, site in tflite_sites(model).items()}
    graph = onnx.load_model_from_string(model).graph
    # Dynamic quantisation replaces the Gemm, but its result keeps the name that `name_by_site` gave it.
    computed = {name: name for node in graph.node for name in node.output if name.endswith(".output")}
    named = {f"{name}.output": site.output for name, site in onnx_sites(graph).items()}
    dequantised_from = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    # The float tensor behind the QuantizeLinear shows what the engine computes without breaking its fused Gemm.
    readable = {
        node.input[0]: dequantised_from[node.output[0]]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.output[0] in dequantised_from
    }
    return {point: readable.get(tensor, tensor) for point, tensor in (computed | named).items()}


def quantised_points(model: bytes) -> dict[str, tuple[float, int]]:
    """(scale, int8 zero point) of every activation that a site reads or writes in int8, by quantisation point."""
    return _tflite_points(model) if is_tflite(model) else _onnx_points(onnx.load_model_from_string(model).graph)


def _tflite_points(model: bytes) -> dict[str, tuple[float, int]]:
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    tensors = {graph.Tensors(i).Name().decode(): graph.Tensors(i) for i in range(graph.TensorsLength())}
    points = {}
    for name, site in tflite_sites(model).items():
        for point, tensor in ((f"{name}.input", tensors[site.input]), (f"{name}.output", tensors[site.output])):
            if tensor.Type() == schema.TensorType.INT8:
                quantization = tensor.Quantization()
                points[point] = (float(quantization.Scale(0)), int(quantization.ZeroPoint(0)))
    return points


def _onnx_points(graph: onnx.GraphProto) -> dict[str, tuple[float, int]]:
    values = {tensor.name: tensor for tensor in graph.initializer}
    dequantised_to = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    quantised_from = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    points = {}
    for name, site in onnx_sites(graph).items():
        nodes = {f"{name}.input": dequantised_to.get(site.input), f"{name}.output": quantised_from.get(site.output)}
        for point, node in nodes.items():
            if node is not None:
                scale, zero_point = (numpy_helper.to_array(values[tensor]) for tensor in node.input[1:3])
                # Activations are uint8 in ONNX (fast on x86); minus 128 they are TFLite's int8.
                offset = 128 if zero_point.dtype.name == "uint8" else 0
                points[point] = (float(scale), int(zero_point) - offset)
    return points
