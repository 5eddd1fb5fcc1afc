"""The products with weights of an ONNX graph: set apart, named and read by site."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from perceiver_edge.converters.sites import Site, site_name

GEMM_OPERATORS = ("Gemm", "MatMul")


def onnx_sites(graph: onnx.GraphProto) -> dict[str, Site]:
    """Every Gemm or MatMul with constant weights (float, or dequantised from int8), by site, in graph order."""
    constant = {initializer.name for initializer in graph.initializer}
    constant |= {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constant}
    return {
        site_name(node.name): Site(input=node.input[0], weight=node.input[1], output=node.output[0], operator=node.name)
        for node in graph.node
        if node.op_type in GEMM_OPERATORS and node.input[1] in constant
    }


def separate_residuals(model: onnx.ModelProto) -> onnx.ModelProto:
    """Take residuals out of Gemms: ``x @ w + residual`` becomes ``(x @ w) + residual``.

    tf2onnx merges the sum with the constant latents, the first residual, into the product before it; and, where a bias
    is zero, that with the one row of a classifier's decoder. Then the site's result is another value than the one that
    was calibrated, and no int8 kernel adds a matrix, or a row that is computed. Where others read the product too,
    tf2onnx has left it there beside the Gemm, and they share it again.
    """
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    for value in model.graph.value_info:
        dimensions = value.type.tensor_type.shape.dim
        if len(dimensions) == 2:
            rows[value.name] = dimensions[0].dim_value
    computed = {name for node in model.graph.node if node.op_type != "Constant" for name in node.output}
    products = {tuple(node.input): node.output[0] for node in model.graph.node if node.op_type == "MatMul"}
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type != "Gemm" or len(node.input) != 3:
            continue
        if node.input[2] in computed or rows.get(node.input[2], 1) > 1:
            total, matrix, product = node.output[0], node.input.pop(), f"{node.name}:product"
            if shared := products.get(tuple(node.input)):
                product = shared
                nodes.pop()
            node.output[0] = product
            nodes.append(onnx.helper.make_node("Add", [product, matrix], [total], name=f"{node.name}/residual"))
    # extend() copies, and the nodes must outlive the list that they are in.
    separated = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(separated)
    return model


def name_by_site(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give weights, biases and results of every site names that say what they are: ``<site>.weight`` and so on."""
    results = {value.name for value in model.graph.output}
    operators = {site.operator: name for name, site in onnx_sites(model.graph).items()}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        if (site := operators.get(node.name)) is None:
            continue
        for tensor, role in zip(node.input[1:], ("weight", "bias"), strict=False):
            renamed.setdefault(tensor, f"{site}.{role}")  # tied weights keep the first user's name
        if node.output[0] not in results:
            renamed[node.output[0]] = f"{site}.output"
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for value in (*model.graph.initializer, *model.graph.value_info):
        value.name = renamed.get(value.name, value.name)
    return model


def onnx_observable_outputs(graph: onnx.GraphProto) -> dict[str, str]:
    """See `points.observable_outputs`."""
    # Dynamic quantisation replaces the Gemm, but its result keeps the name that `name_by_site` gave it.
    computed = {name: name for node in graph.node for name in node.output if name.endswith(".output")}
    named = {f"{name}.output": site.output for name, site in onnx_sites(graph).items()}
    dequantised_from = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    # What is behind the QuantizeLinear shows what the engine computes without breaking its fused Gemm. An int8 core
    # reads the whole numbers: then no float tensor is there.
    rounded = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    readable = {tensor: dequantised_from.get(whole, whole) for tensor, whole in rounded.items()}
    return {point: readable.get(tensor, tensor) for point, tensor in (computed | named).items()}


def onnx_points(graph: onnx.GraphProto) -> dict[str, tuple[float, int]]:
    """See `points.quantised_points`."""
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
