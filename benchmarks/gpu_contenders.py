"""What competes on one GPU: our artefacts in the engines, and perceiver-pytorch with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from gpu_subject import Subject

from perceiver_edge.compiler.artefacts import Kind
from perceiver_edge.proof.gates import Gates

DEVICE_TO_DEVICE, HOST_TO_HOST = "device to device", "host to host"


class Running(Protocol):
    """A loaded model. `answer` is proven; `call_ms` times one call on the inputs that were answered last.

    ``device``: the processor that computes. ``is_software``: whether that only plays a GPU. ``note``: for the record.
    """

    device: str
    is_software: bool
    note: str

    def answer(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray: ...

    def call_ms(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Contender:
    """``start`` loads it and raises PerceiverEdgeError where it cannot run; what it holds is freed with the stack.

    ``arithmetic``: what products are computed in, which `gates` follow. ``timed``: from where to where.
    """

    name: str
    engine: str
    arithmetic: str
    is_ours: bool
    timed: str
    start: Callable[[Subject, ExitStack], Running]

    @property
    def gates(self) -> Gates:
        return Gates.for_precision(_GATES[self.arithmetic])


_GATES = {"float32": "fp16", "tf32": "fp16", "float16": "fp16", "bfloat16": "int8"}
"""The bounds of the precision with as many bits: TF32 has float16's 11, bfloat16 has 8. What LiteRT computes in float32
has float16 weights."""


class _OnnxRuntime:
    is_software = False

    def __init__(self, content: bytes) -> None:
        from perceiver_edge.runtime.onnxruntime_cuda import OnnxRuntimeCudaRunner

        self._runner = OnnxRuntimeCudaRunner(content, where="artefact")
        self.device = "CUDA device 0"
        self.note = ", ".join(f"{count} nodes on {name}" for name, count in self._runner.nodes.items())

    def answer(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._runner(feeds)  # type: ignore[return-value]  # one output

    def call_ms(self) -> float:
        from gpu_timing import elapsed_ms

        return elapsed_ms(self._runner.binding.run)


class _LiteRt:
    def __init__(self, content: bytes, stack: ExitStack, *, half: bool) -> None:
        from perceiver_edge.runtime.litert_gpu import LiteRtGpuRunner

        self._runner = stack.enter_context(LiteRtGpuRunner(content, half=half, where="artefact"))
        self.device, self.is_software = self._runner.adapter, self._runner.is_software
        self.note = "all operators on the GPU"

    def answer(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        self._feeds = feeds
        return self._runner(feeds)  # type: ignore[return-value]  # one output

    def call_ms(self) -> float:
        self._runner(self._feeds)
        return self._runner.call_ms


def _onnx(precision: str) -> Callable[[Subject, ExitStack], Running]:
    return lambda subject, _: _OnnxRuntime(subject.artefacts[Kind("onnx", precision)])


def _tflite(*, half: bool) -> Callable[[Subject, ExitStack], Running]:
    return lambda subject, stack: _LiteRt(subject.artefacts[Kind("tflite", "fp16")], stack, half=half)


def _torch(dtype: str, mode: str | None) -> Callable[[Subject, ExitStack], Running]:
    def start(subject: Subject, _: ExitStack) -> Running:
        from gpu_torch import on_gpu

        return on_gpu(subject, dtype=dtype, compile_mode=mode)

    return start


def contenders() -> tuple[Contender, ...]:
    ours = (
        ("ONNX Runtime CUDA fp16", "onnxruntime_cuda", "float16", DEVICE_TO_DEVICE, _onnx("fp16")),
        ("ONNX Runtime CUDA fp32", "onnxruntime_cuda", "tf32", DEVICE_TO_DEVICE, _onnx("fp32")),
        ("LiteRT GPU fp16, float16 arithmetic", "litert_gpu", "float16", HOST_TO_HOST, _tflite(half=True)),
        ("LiteRT GPU fp16, float32 arithmetic", "litert_gpu", "float32", HOST_TO_HOST, _tflite(half=False)),
    )
    compiled = (
        ("eager", None),
        ("torch.compile", "default"),
        ("torch.compile reduce-overhead", "reduce-overhead"),
    )
    return tuple(
        Contender(name=name, engine=engine, arithmetic=arithmetic, is_ours=True, timed=timed, start=start)
        for name, engine, arithmetic, timed, start in ours
    ) + tuple(
        Contender(
            name=f"perceiver-pytorch {dtype}, {words}", engine="torch", arithmetic=dtype, is_ours=False,
            timed=DEVICE_TO_DEVICE, start=_torch(dtype, mode),
        )
        for dtype in ("float16", "bfloat16")
        for words, mode in compiled
    )  # fmt: skip
