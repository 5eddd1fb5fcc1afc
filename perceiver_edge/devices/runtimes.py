"""The table of runtimes: what each takes, what its answers prove, and how it is asked."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np

from perceiver_edge.devices import arm64, tflite_runtime
from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import Engine, load, run_all

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


NATIVE: Mapping[str, str] = {"tflite": "litert", "onnx": "onnxruntime"}
"""By format: the runtime on this processor, whose answers those of all others are compared with."""


def _native(engine: Engine, model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    return run_all(load(model, engine=engine), inputs)


def _here(engine: Engine, *, format_: str, distribution: str, title: str) -> Runtime:
    return Runtime(
        name=engine, formats=(format_,), kind="measured", about=f"{title} on this processor",
        run=functools.partial(_native, engine), version=functools.partial(version, distribution),
    )  # fmt: skip


def _arm64(engine: Engine, cpu: arm64.Cpu, *, format_: str, distribution: str, title: str) -> Runtime:
    name = f"{engine}-arm64-{cpu.name}"
    return Runtime(
        name=name, formats=(format_,), kind="functional",
        about=f"{title}'s aarch64 wheel under qemu-user as a {cpu.title}, {cpu.about}",
        run=functools.partial(arm64.outputs, cpu=cpu, runtime=name),
        version=functools.partial(arm64.version, distribution),
    )  # fmt: skip


_LITERT = {"format_": "tflite", "distribution": "ai-edge-litert", "title": "LiteRT"}
_ONNXRUNTIME = {"format_": "onnx", "distribution": "onnxruntime", "title": "ONNX Runtime"}

RUNTIMES: tuple[Runtime, ...] = (
    _here("litert", **_LITERT),
    Runtime(
        name=tflite_runtime.NAME, formats=("tflite",), kind="measured",
        about="the last tflite-runtime, with numpy 1, on this processor",
        run=tflite_runtime.outputs, version=tflite_runtime.version,
    ),
    *(_arm64("litert", cpu, **_LITERT) for cpu in arm64.CPUS),
    _here("onnxruntime", **_ONNXRUNTIME),
    *(_arm64("onnxruntime", cpu, **_ONNXRUNTIME) for cpu in arm64.CPUS),
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
