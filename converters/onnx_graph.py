"""Read an ONNX graph: its products with weights, by site."""

from __future__ import annotations

import onnx

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
