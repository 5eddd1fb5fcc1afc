"""The process in which LiteRT's GPU accelerator runs a model; `litert_gpu` starts it.

What LiteRT and the driver write goes to standard error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from perceiver_edge.runtime.runner import TensorSpec
from perceiver_edge.runtime.serving import Answer, described, serve


class _Model:
    """A compiled model with its buffers on the device."""

    def __init__(self, content: bytes, *, half: bool) -> None:
        from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options

        # The GPU alone: with the CPU beside it, LiteRT runs there what the GPU refuses and still says "accelerated".
        self._model = CompiledModel.from_buffer(
            content,
            options=Options(
                hardware_accelerators=HardwareAccelerator.GPU, gpu_options=GpuOptions(enforce_f32=not half)
            ),
        )
        signature = self._model.get_signature_by_index(0)
        key = signature["key"]
        self.inputs = _specs(self._model.get_input_tensor_details(key), signature["inputs"])
        self.outputs = _specs(self._model.get_output_tensor_details(key), signature["outputs"])
        self._input_buffers = self._model.create_input_buffers(0)
        self._output_buffers = self._model.create_output_buffers(0)

    def run(self, feeds: dict[str, np.ndarray]) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
        """``call_ms``: from the inputs in this process's memory to the outputs there."""
        start = time.perf_counter()
        for name, buffer in zip(self.inputs, self._input_buffers):
            buffer.write(feeds[name])
        self._model.run_by_index(0, self._input_buffers, self._output_buffers)
        arrays = {
            name: buffer.read(int(np.prod(spec.shape)), spec.dtype).reshape(spec.shape)
            for (name, spec), buffer in zip(self.outputs.items(), self._output_buffers)
        }
        return {"call_ms": 1000 * (time.perf_counter() - start)}, arrays


def misread_operators(model: bytes) -> Iterator[str]:
    """Arithmetic with a constant of several rows, of which the accelerator of ai-edge-litert 2.3 reads the first alone.

    The models of `converters.tflite.gpu` have none.
    """
    from ai_edge_litert import schema_py_generated as schema

    kinds = {getattr(schema.BuiltinOperator, name): name for name in ("ADD", "SUB", "MUL", "DIV")}
    root = schema.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = root.OperatorCodes(operator.OpcodeIndex())
        kind = kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if kind is None:
            continue
        for tensor in (graph.Tensors(number) for number in operator.InputsAsNumpy()):
            is_constant = root.Buffers(tensor.Buffer()).DataLength() > 0
            if is_constant and tensor.ShapeLength() > 1 and tensor.Shape(0) > 1:
                yield f"{kind} {tensor.ShapeAsNumpy().tolist()}"


def _specs(details: dict[str, dict], names: list[str]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(tuple(int(size) for size in details[name]["shape"]), np.dtype(details[name]["dtype"]))
        for name in names
    }


def _load(content: bytes, *, half: bool) -> tuple[Mapping[str, Any], Answer | None]:
    """``half``: whether the accelerator may compute in float16."""
    if misread := list(misread_operators(content)):
        return {"misread": misread}, None
    model = _Model(content, half=half)
    return {"inputs": described(model.inputs), "outputs": described(model.outputs)}, model.run


def main() -> None:
    serve(_load)
