"""The oldest runtimes that really ran artefacts like ours: `tests/devices/test_oldest_runtimes.py` runs them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OldRuntime:
    """``distribution``, ``version``: as pip installs it. ``python``: one that has wheels of it.
    ``precisions``: of the artefacts of ``format`` that it runs rightly."""

    name: str
    distribution: str
    version: str
    python: str
    format: str
    precisions: tuple[str, ...]


_NO_DYNAMIC = ("fp32", "fp16", "int8")
"""Dynamic range needs version 12 of FULLY_CONNECTED (weights per channel)."""

OLDEST = (
    OldRuntime("TensorFlow's interpreter", "tensorflow-cpu", "2.12.0", "3.11", "tflite", _NO_DYNAMIC),
    OldRuntime("tflite-runtime", "tflite-runtime", "2.14.0", "3.11", "tflite", _NO_DYNAMIC),
    OldRuntime("LiteRT", "ai-edge-litert", "1.0.1", "3.11", "tflite", ("fp32", "fp16", "dynamic", "int8")),
    OldRuntime("ONNX Runtime", "onnxruntime", "1.14.1", "3.10", "onnx", ("fp32", "dynamic", "int8")),
)


def oldest_runtimes(format_: str, precision: str) -> tuple[str, ...]:
    """Name and version of each that ran artefacts of this kind."""
    return tuple(
        f"{runtime.name} {runtime.version}"
        for runtime in OLDEST
        if runtime.format == format_ and precision in runtime.precisions
    )
