"""Read the graph that ONNX Runtime makes of an ONNX model into the census's `Graph`."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from perceiver_edge.converters.census.graph import Graph, Operator, Tensor
from perceiver_edge.converters.census.onnx_gemms import DEQUANTIZERS, find_gemms, key_of, kind_of
from perceiver_edge.errors import BadInputError, importing

_QUANTIZERS = frozenset({"QuantizeLinear", "com.microsoft.QuantizeLinear", "DynamicQuantizeLinear"})
_LOG_FATAL_ONLY = 4


def read_onnx(model: bytes) -> Graph:
    """Optimise `model` as ONNX Runtime does on this machine's CPU, and read the result.

    ``inputs``, ``outputs``, ``versions``, ``file_operators`` and ``weight_bytes`` are the file's own.

    Raises:
        BadInputError: ONNX Runtime refuses the model.
        MissingExtraError: onnx or onnxruntime are not installed.
    """
    with importing("onnx", "convert"):
        import onnx
    with importing("onnxruntime", "convert"):
        import onnxruntime
    dtype_of = _dtype_namer(onnx)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        try:
            _optimize(model, path, onnxruntime)
            optimized = onnx.load(path)
        except Exception as error:  # neither library's exceptions have a base class of their own
            raise BadInputError(
                "The ONNX model cannot be read.", expected="an undamaged TFLite or ONNX model", got=error
            ) from error
        tensors = _tensors(optimized, path, onnx, onnxruntime)
    operators = tuple(_operator(node) for node in optimized.graph.node)
    gemms = dict(find_gemms(optimized.graph, tensors, onnx))
    del optimized  # of a large model it is a gigabyte, as the file is
    file = onnx.load_model_from_string(model)
    return Graph(
        format="onnx",
        format_version=file.ir_version,
        versions={opset.domain or "ai.onnx": opset.version for opset in file.opset_import},
        operators=operators,
        file_operators=Counter(kind_of(node) for node in file.graph.node),
        tensors=tensors,
        inputs=tuple(_interface(file.graph.input, dtype_of)),
        outputs=tuple(_interface(file.graph.output, dtype_of)),
        gemms=gemms,
        weight_bytes=_weight_bytes(file.graph, dtype_of, onnx),
        quantizers=_QUANTIZERS,
        dequantizers=DEQUANTIZERS,
    )


def _optimize(model: bytes, path: Path, onnxruntime: Any) -> None:
    options = _options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=False)


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_FATAL_ONLY
    options.add_session_config_entry("session.disable_prepacking", "1")  # it will not run: no second copy of weights
    return options


def _tensors(optimized: Any, path: Path, onnx: Any, onnxruntime: Any) -> dict[str, Tensor]:
    """Every tensor of the optimised graph, with the shape and dtype that ONNX Runtime infers.

    It saves few of them, and onnx's own inference does not know ONNX Runtime's operators. So all are made outputs of a
    second session, which then has to say their types.
    """
    dtype_of = _dtype_namer(onnx)
    tensors = {
        weight.name: Tensor(weight.name, tuple(weight.dims), dtype_of(weight.data_type), constant=True)
        for weight in optimized.graph.initializer
    }
    named = {output.name for output in optimized.graph.output}
    further = onnx.ModelProto()
    further.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name)
        for node in optimized.graph.node
        for name in node.output
        if name and name not in named
    )
    with path.open("ab") as file:  # serialised messages, one after the other, are one message: their lists are joined
        file.write(further.SerializeToString())
    options = _options(onnxruntime)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=False)
    for argument in (*session.get_inputs(), *session.get_outputs()):
        shape = argument.shape
        tensors[argument.name] = Tensor(
            argument.name,
            None if shape is None else tuple(size if isinstance(size, int) else -1 for size in shape),
            _dtype_of_type_string(argument.type),
        )
    return tensors


def _dtype_of_type_string(text: str) -> str:
    inner = text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)


def _dtype_namer(onnx: Any) -> Callable[[int], str]:
    names = {"FLOAT": "float32", "DOUBLE": "float64"}

    def name(code: int) -> str:
        text = onnx.TensorProto.DataType.Name(code)
        return names.get(text, text.lower())

    return name


def _operator(node: Any) -> Operator:
    return Operator(
        name=key_of(node),
        kind=kind_of(node),
        inputs=tuple(name for name in node.input if name),
        outputs=tuple(name for name in node.output if name),
    )


def _interface(values: Any, dtype_of: Callable[[int], str]) -> Iterable[Tensor]:
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim)
        yield Tensor(value.name, shape if kind.HasField("shape") else None, dtype_of(kind.elem_type))


def _weight_bytes(graph: Any, dtype_of: Callable[[int], str], onnx: Any) -> dict[str, int]:
    totals: Counter[str] = Counter()
    constants = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.name == "value"]
    for weight in (*graph.initializer, *constants):
        size = len(weight.raw_data) if weight.HasField("raw_data") else onnx.numpy_helper.to_array(weight).nbytes
        totals[dtype_of(weight.data_type)] += size
    return totals
