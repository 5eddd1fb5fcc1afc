"""Read tensors from inside a model, to see where an error enters. For the workbench, not for the device."""

from __future__ import annotations

import difflib
import struct
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from perceiver_edge.errors import BadInputError, importing
from perceiver_edge.runtime._tflite import TfliteRunner
from perceiver_edge.runtime.execution import resolve_execution
from perceiver_edge.runtime.formats import is_tflite
from perceiver_edge.runtime.onnxruntime import OnnxRuntimeRunner

Feeds = Union[np.ndarray, Mapping[str, np.ndarray]]
Probe = Callable[[Feeds], dict[str, np.ndarray]]

_OUTPUTS_SLOT = 8
"""Where the vtable of a SubGraph has its outputs: field 2 of the TFLite schema, after two header entries."""


class _ProbedRunner(TfliteRunner):
    engine = "litert"


def probe(model: bytes, tensor_names: Sequence[str], *, threads: int | None = None) -> Probe:
    """Load `model` so that each run returns the tensors named, as float32.

    TFLite: any tensor that an operator computes, by its name in the file; quantised ones are dequantised,
    ``scale * (q - zero_point)`` per tensor or per channel.
    ONNX: float tensors, and outputs of a QuantizeLinear, which come dequantised.
    A probed tensor becomes an output of the graph: the engine computes it as in deployment but cannot fuse across it.

    Args:
        model: a TFLite or ONNX model.
        tensor_names: which tensors; no name means an empty result.
        threads: as for `load`.

    Returns:
        from feeds, as for `Runner`, to the tensors by name. It raises BadInputError for feeds that are not the
        model's and for a tensor that cannot be given as float32.

    Raises:
        BadInputError: an unknown tensor.
        MissingExtraError: ai-edge-litert (for TFLite), or onnx and onnxruntime (for ONNX) are not installed.
    """
    return (_probe_tflite if is_tflite(model) else _probe_onnx)(model, tensor_names, threads)


def _probe_tflite(model: bytes, tensor_names: Sequence[str], threads: int | None) -> Probe:
    with importing("ai_edge_litert", "litert"):
        from ai_edge_litert.interpreter import Interpreter
    exposed = _with_outputs(model, tensor_names)
    execution = resolve_execution(threads=threads, placement="system")
    runner = _ProbedRunner(
        lambda: Interpreter(model_content=exposed, num_threads=execution.threads), execution, "bytes"
    )  # fmt: skip
    interpreter = runner._interpreter
    details = {detail["name"]: detail for detail in interpreter.get_output_details()}

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        runner(feeds)
        return {
            name: _dequantised(interpreter.get_tensor(details[name]["index"]), details[name]) for name in tensor_names
        }

    return run


def _with_outputs(model: bytes, tensor_names: Sequence[str]) -> bytes:
    """The model with further tensors as outputs: engines that fuse (XNNPACK) then keep them.

    Only the list of outputs changes, so a longer one is appended to the file and the graph is pointed at it; FlatBuffer
    offsets are relative and reach forward. Rewriting the whole file would move every weight.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    index_of = {graph.Tensors(index).Name().decode(): index for index in range(graph.TensorsLength())}
    _require_known(tensor_names, index_of)
    outputs = dict.fromkeys([*graph.OutputsAsNumpy().tolist(), *(index_of[name] for name in tensor_names)])
    field = graph._tab.Pos + graph._tab.Offset(_OUTPUTS_SLOT)
    padding = bytes(-len(model) % 4)
    offset = struct.pack("<I", len(model) + len(padding) - field)
    vector = struct.pack(f"<{len(outputs) + 1}I", len(outputs), *outputs)
    whole = memoryview(model)  # its weights are copied once
    return b"".join([whole[:field], offset, whole[field + len(offset) :], padding, vector])


def _dequantised(array: np.ndarray, detail: Mapping[str, Any]) -> np.ndarray:
    quantization = detail["quantization_parameters"]
    scales, zero_points = quantization["scales"], quantization["zero_points"]
    if scales.size == 0:
        return array.astype(np.float32, copy=False)
    if scales.size > 1:  # per channel: align the scales with their axis
        shape = [1] * array.ndim
        shape[quantization["quantized_dimension"]] = scales.size
        scales, zero_points = scales.reshape(shape), zero_points.reshape(shape)
    return ((array.astype(np.float64) - zero_points) * scales).astype(np.float32)


def _probe_onnx(model: bytes, tensor_names: Sequence[str], threads: int | None) -> Probe:
    with importing("onnx", "convert"):
        import onnx
    exposed, further = _with_dequantised(onnx.load_model_from_string(model).graph, tensor_names)
    with tempfile.TemporaryDirectory() as folder:  # from a file, because a session keeps the bytes that it is given
        path = Path(folder) / "probed.onnx"
        with path.open(
            "wb"
        ) as file:  # serialised messages, one after the other, are one message: their lists are joined
            file.write(model)
            file.write(further.SerializeToString())
        execution = resolve_execution(threads=threads, placement="system")
        runner = OnnxRuntimeRunner(path, execution=execution, where="bytes")

    def run(feeds: Feeds) -> dict[str, np.ndarray]:
        batch, _ = runner._checked(feeds)
        results = runner._run(batch)
        values = {name: results[tensor] for name, tensor in exposed.items()}
        for name, value in values.items():
            if value.dtype.kind != "f":
                raise BadInputError(
                    f"Tensor {name!r} is not a float tensor.",
                    expected="a float tensor, or the output of a QuantizeLinear",
                    got=value.dtype,
                )
        return {name: value.astype(np.float32, copy=False) for name, value in values.items()}

    return run


def _with_dequantised(graph: Any, names: Sequence[str]) -> tuple[dict[str, str], Any]:
    """The float tensor to read for each name, and what a model has to have besides for it: outputs and operators."""
    import onnx

    producers = {name: node for node in graph.node for name in node.output}
    _require_known(names, producers)
    exposed, further = {}, onnx.ModelProto()
    for name in names:
        exposed[name] = name
        if producers[name].op_type == "QuantizeLinear":
            exposed[name] = f"{name}:dequantised"
            node = onnx.helper.make_node("DequantizeLinear", [name, *producers[name].input[1:]], [exposed[name]])
            node.attribute.extend(a for a in producers[name].attribute if a.name == "axis")
            further.graph.node.append(node)
    outputs = {output.name for output in graph.output}
    further.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in exposed.values() if name not in outputs
    )
    return exposed, further


def _require_known(names: Sequence[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            raise BadInputError(
                f"The model computes no tensor {name!r}.",
                expected=f"one of its {len(known)} tensors",
                fix=f"close to it: {', '.join(close)}" if close else None,
            )
