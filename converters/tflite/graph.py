"""Read a TFLite flatbuffer: its products with weights, by site."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.sites import Site, site_name


def tflite_sites(model: bytes) -> dict[str, Site]:
    """Every FULLY_CONNECTED with constant weights, by site, in order of execution."""
    root = schema.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    sites = {}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = root.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) != schema.BuiltinOperator.FULLY_CONNECTED:
            continue
        input_name, weight, output = (
            graph.Tensors(i).Name().decode() for i in (operator.Inputs(0), operator.Inputs(1), operator.Outputs(0))
        )
        # Tied weights are one tensor with the first user's name; the output is always named after its own site.
        name = next((scoped for scoped in output.split(";") if "/MatMul" in scoped), weight)
        sites[site_name(name)] = Site(input=input_name, weight=weight, output=output, operator=str(index))
    return sites


def tflite_output(model: bytes) -> str:
    """See `points.output_tensor`."""
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    return str(graph.Tensors(graph.Outputs(0)).Name().decode())


def tflite_points(model: bytes) -> dict[str, tuple[float, int]]:
    """See `points.quantised_points`."""
    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    tensors = {graph.Tensors(i).Name().decode(): graph.Tensors(i) for i in range(graph.TensorsLength())}
    points = {}
    for name, site in tflite_sites(model).items():
        for point, tensor in ((f"{name}.input", tensors[site.input]), (f"{name}.output", tensors[site.output])):
            if tensor.Type() == schema.TensorType.INT8:
                quantization = tensor.Quantization()
                points[point] = (float(quantization.Scale(0)), int(quantization.ZeroPoint(0)))
    return points
