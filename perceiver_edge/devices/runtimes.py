"""The table of runtimes: what each takes, what its answers prove, and how it is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np

from perceiver_edge.demo.packages import VERSIONS
from perceiver_edge.devices import arm64, tflite_runtime, x86
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import PRECISIONS
from perceiver_edge.runtime import Engine, load
from perceiver_edge.runtime.onnxruntime import engine_version as onnxruntime_version

Kind = Literal["measured", "functional"]
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One way to run a model.

    Attributes:
        formats: those it takes: ``tflite``, ``onnx``.
        kind: ``measured`` where the processor is the real one, so that a time taken there would count; ``functional``
            where it is emulated: the numbers are right, a time means nothing.
        about: what runs where, in a phrase.
        precisions: those of the artefacts that it is for; of others it says so, and does not run.
        run: the model's bytes and its inputs by name ``[n, ...]`` → its output ``[n, ...]``. Raises NotRunError where
            the runtime is not here (MissingExtraError where that is an engine of this environment), BadInputError where
            it refuses the model.
        version: of its engine; asked for only after a run.
    """

    name: str
    formats: tuple[str, ...]
    kind: Kind
    about: str
    run: Callable[[bytes, Mapping[str, np.ndarray]], np.ndarray]
    version: Callable[[], str]
    precisions: tuple[str, ...] = PRECISIONS


NATIVE: Mapping[str, str] = {"tflite": "litert", "onnx": "onnxruntime"}
"""By format: the runtime on this processor, whose answers those of all others are compared with."""


def _native(engine: Engine, model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.asarray(load(model, engine=engine).batch(inputs))


def _here(engine: Engine, engine_version: Callable[[], str], *, format_: str, title: str) -> Runtime:
    return Runtime(
        name=engine, formats=(format_,), kind="measured", about=f"{title} on this processor",
        run=functools.partial(_native, engine), version=engine_version,
    )  # fmt: skip


def _arm64(engine: Engine, cpu: arm64.Cpu, *, format_: str, distribution: str, title: str) -> Runtime:
    name = f"{engine}-arm64-{cpu.name}"
    return Runtime(
        name=name, formats=(format_,), kind="functional",
        about=f"{title}'s aarch64 wheel under qemu-user as a {cpu.title}, {cpu.about}",
        run=functools.partial(arm64.outputs, cpu=cpu, runtime=name),
        version=functools.partial(arm64.version, distribution),
    )  # fmt: skip


def _x86(engine: Engine, cpu: x86.Cpu, engine_version: Callable[[], str], *, format_: str, title: str) -> Runtime:
    name = f"{engine}-x86-{cpu.name}"
    return Runtime(
        name=name, formats=(format_,), kind="functional",
        about=f"{title} on an emulated {cpu.title} ({cpu.about})",
        run=functools.partial(x86.outputs, cpu=cpu, runtime=name), version=engine_version,
    )  # fmt: skip


def _browser(engine: Literal["litertjs", "onnxruntime-web"], package: str, *, format_: str, title: str) -> Runtime:
    def run(model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        from perceiver_edge.demo.browser import browser_outputs

        return browser_outputs(model, inputs, engine=engine).outputs

    return Runtime(
        name=engine, formats=(format_,), kind="measured", about=f"{title} as WebAssembly in a headless Chromium",
        run=run, version=lambda: VERSIONS[package],
    )  # fmt: skip


def _litert_gpu(model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    from perceiver_edge.runtime.litert_gpu import run_on_gpu

    return run_on_gpu(model, inputs)


def _cuda(model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    from perceiver_edge.runtime.onnxruntime_cuda import OnnxRuntimeCudaRunner

    return np.asarray(OnnxRuntimeCudaRunner(model, where="bytes").batch(inputs))


_LITERT = {"format_": "tflite", "title": "LiteRT"}
_ONNXRUNTIME = {"format_": "onnx", "title": "ONNX Runtime"}
_litert_version = functools.partial(version, "ai-edge-litert")

RUNTIMES: tuple[Runtime, ...] = (
    _here("litert", _litert_version, **_LITERT),
    Runtime(
        name=tflite_runtime.NAME, formats=("tflite",), kind="measured", precisions=("fp32", "fp16", "int8"),
        about="the last tflite-runtime, with numpy 1, on this processor",
        run=tflite_runtime.outputs, version=tflite_runtime.version,
    ),
    *(_x86("litert", cpu, _litert_version, **_LITERT) for cpu in x86.CPUS),
    *(_arm64("litert", cpu, distribution="ai-edge-litert", **_LITERT) for cpu in arm64.CPUS),
    _browser("litertjs", "@litertjs/core", format_="tflite", title="LiteRT.js"),
    Runtime(
        name="litert-webgpu", formats=("tflite",), kind="functional", precisions=("fp16",),
        about="LiteRT's GPU accelerator through Vulkan, on a GPU or on one that software emulates",
        run=_litert_gpu, version=_litert_version,
    ),
    _here("onnxruntime", onnxruntime_version, **_ONNXRUNTIME),
    *(_x86("onnxruntime", cpu, onnxruntime_version, **_ONNXRUNTIME) for cpu in x86.CPUS),
    *(_arm64("onnxruntime", cpu, distribution="onnxruntime", **_ONNXRUNTIME) for cpu in arm64.CPUS),
    _browser("onnxruntime-web", "onnxruntime-web", format_="onnx", title="ONNX Runtime Web"),
    Runtime(
        name="onnxruntime-cuda", formats=("onnx",), kind="measured", precisions=("fp32", "fp16"),
        about="ONNX Runtime's CUDA provider on an NVIDIA GPU",
        run=_cuda, version=onnxruntime_version,
    ),
)  # fmt: skip


def chosen(names: str) -> tuple[Runtime, ...]:
    """The runtimes of a comma-separated list, in the table's order, and the native ones that they are compared with.

    Raises:
        BadInputError: no such runtime.
    """
    known = [runtime.name for runtime in RUNTIMES]
    wanted = known if names == ALL else names.split(",")
    if unknown := [name for name in wanted if name not in known]:
        raise BadInputError("No such runtime.", expected=", ".join([ALL, *known]), got=", ".join(unknown))
    formats = {format_ for runtime in RUNTIMES if runtime.name in wanted for format_ in runtime.formats}
    needed = {*wanted, *(NATIVE[format_] for format_ in formats)}
    return tuple(runtime for runtime in RUNTIMES if runtime.name in needed)
