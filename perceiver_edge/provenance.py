"""What made a result: the code, the tools and the processor. With the same of all three come the same bits."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from perceiver_edge.runtime.processors import usable_processors

_TOOLS = (
    "perceiver-edge", "tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnx-ir", "onnxscript",
    "onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "ai-edge-quantizer", "flatbuffers", "protobuf", "ml-dtypes",
    "numpy",
)  # fmt: skip

_SOURCES = (
    "perceiver_edge", "perceiver_edge.calibration", "perceiver_edge.checkpoints", "perceiver_edge.compiler",
    "perceiver_edge.config", "perceiver_edge.converters", "perceiver_edge.converters.census",
    "perceiver_edge.converters.onnx", "perceiver_edge.converters.tflite", "perceiver_edge.data", "perceiver_edge.files",
    "perceiver_edge.lowering", "perceiver_edge.model", "perceiver_edge.proof", "perceiver_edge.runtime",
)  # fmt: skip
"""The folders whose code decides a result that is kept; `find_spec` knows where an editable install has them."""


def tool_versions() -> dict[str, str]:
    """Name to version, Python's own first."""
    versions = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # tensorflow and tensorflow-cpu exclude each other, and so do onnxruntime and onnxruntime-gpu
    return versions


@functools.cache
def source_digest() -> str:
    """SHA-256 (hexadecimal) of the package's own code, whatever its version says."""
    digest = hashlib.sha256()
    for package in _SOURCES:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None
        for path in sorted(Path(spec.origin).parent.glob("*.py")):
            content = path.read_bytes()
            digest.update(f"{package}/{path.name} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def processor() -> str:
    """The processor's name; where the system has none, that of its board, or what it is one of."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        info = ""
    return _name_in(info) or platform.processor() or platform.machine() or "unknown processor"


def _name_in(info: str) -> str | None:
    """What a ``/proc/cpuinfo`` calls the processor; Arm's has no "model name"."""
    fields: dict[str, str] = {}
    for line in info.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    named = next((fields[key] for key in ("model name", "Model", "Hardware") if fields.get(key)), None)
    return named or (f"CPU part {fields['CPU part']}" if fields.get("CPU part") else None)


_DECIDING_PREFIXES = ("TF_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "XLA_", "KERAS_", "ORT_", "TFLITE_")
_DECIDING_NOTHING = {
    "TF_CPP_MIN_LOG_LEVEL", "TF_CPP_MAX_VLOG_LEVEL", "TF_CPP_VMODULE", "ORT_DISABLE_TELEMETRY",
    "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",  # scikit-learn sets them when it is imported
}  # fmt: skip


def deciding_environment() -> dict[str, str]:
    """The variables by which TensorFlow, oneDNN and the engines are told how to compute."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(_DECIDING_PREFIXES) and name not in _DECIDING_NOTHING
    }


def provenance() -> dict[str, object]:
    """All that a result of this process depends on besides its inputs, JSON-ready.

    Instruction sets and the number of processors decide in which order TensorFlow adds, and so the last bits.
    """
    return {
        "source": source_digest(),
        "tools": tool_versions(),
        "machine": [platform.system(), platform.machine(), processor(), len(usable_processors())],
        "environment": deciding_environment(),
    }
