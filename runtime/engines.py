"""The table of engines on this machine: one line each, for whoever loads, measures or lists them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from perceiver_edge.runtime.runner import Runner

Engine = Literal["litert", "tflite_runtime", "onnxruntime"]


@dataclass(frozen=True)
class EngineFacts:
    """What the rest has to know of an engine.

    Attributes:
        format: of the models that it runs.
        library: what is imported of it; its first part tells whether it is installed.
        extra: of this package, that brings it.
        runner: our class for it, as ``module.Class`` within `perceiver_edge.runtime`.
    """

    format: Literal["tflite", "onnx"]
    library: str
    extra: str
    runner: str

    @property
    def distribution(self) -> str:
        """The package whose presence tells whether the engine is here."""
        return self.library.partition(".")[0]

    def runner_class(self) -> Callable[..., Runner]:
        """Called with the model's bytes, ``execution`` and ``where``. Imports the engine."""
        module, _, name = self.runner.partition(".")
        found: Callable[..., Runner] = getattr(importlib.import_module(f"perceiver_edge.runtime.{module}"), name)
        return found


# Of one format, the first that is installed is taken.
ENGINES: dict[Engine, EngineFacts] = {
    "litert": EngineFacts("tflite", "ai_edge_litert.interpreter", "litert", "litert.LiteRtRunner"),
    "tflite_runtime": EngineFacts(
        "tflite", "tflite_runtime.interpreter", "tflite-runtime", "tflite_runtime.TfliteRuntimeRunner"
    ),
    "onnxruntime": EngineFacts("onnx", "onnxruntime", "onnxruntime", "onnxruntime.OnnxRuntimeRunner"),
}


def engines_for(format_: str) -> tuple[Engine, ...]:
    """Those that run a format, installed or not."""
    return tuple(engine for engine, facts in ENGINES.items() if facts.format == format_)


def installed_engines(able: tuple[Engine, ...]) -> tuple[Engine, ...]:
    """Those of the engines that are on this machine, found without importing them."""
    return tuple(engine for engine in able if find_spec(ENGINES[engine].distribution) is not None)
