"""What made a result: the code, the tools and the processor. With the same of all three come the same bits."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_TOOLS = (
    "perceiver-edge", "tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "onnxscript", "onnx-ir",
    "onnxruntime", "onnxruntime-gpu", "ai-edge-litert", "ai-edge-quantizer", "numpy",
)  # fmt: skip

_SOURCES = (
    "perceiver_edge", "perceiver_edge.checkpoints", "perceiver_edge.model", "perceiver_edge.lowering",
    "perceiver_edge.converters", "perceiver_edge.calibration", "perceiver_edge.runtime",
)  # fmt: skip
"""The package's folders with code; `find_spec` knows where an editable install has them."""


def tool_versions() -> dict[str, str]:
    """Name to version, Python's own first."""
    versions = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # tensorflow and tensorflow-cpu exclude each other, as do onnxruntime and onnxruntime-gpu
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
    """The processor's name."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        info = ""
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def provenance() -> dict[str, object]:
    """All that a result of this process depends on besides its inputs, JSON-ready.

    Instruction sets and the number of processors decide in which order TensorFlow adds, and so the last bits.
    """
    return {
        "source": source_digest(),
        "tools": tool_versions(),
        "machine": [platform.system(), platform.machine(), processor(), os.cpu_count()],
    }
