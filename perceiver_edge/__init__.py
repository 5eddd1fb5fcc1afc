"""perceiver_edge: a Perceiver in, proven int8 TFLite and ONNX models out.

Names are loaded on first use, so that importing the package costs nothing and never imports TensorFlow.
"""

import importlib
import os
from typing import TYPE_CHECKING

from perceiver_edge._version import __version__
from perceiver_edge.registration import register_with_keras

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime 1.32 sends usage data. This is set before anything here imports it; who sets it otherwise decides."""

register_with_keras()

if TYPE_CHECKING:
    from perceiver_edge.bundle.hub import load_bundle
    from perceiver_edge.compiler.pipeline import compile
    from perceiver_edge.config import InputSpec, PerceiverConfig
    from perceiver_edge.errors import PerceiverEdgeError
    from perceiver_edge.model import Perceiver
    from perceiver_edge.proof.parity import ParityError

_HOME_OF = {
    "Perceiver": "perceiver_edge.model",
    "PerceiverConfig": "perceiver_edge.config",
    "InputSpec": "perceiver_edge.config",
    "ParityError": "perceiver_edge.proof.parity",
    "PerceiverEdgeError": "perceiver_edge.errors",
    "compile": "perceiver_edge.compiler.pipeline",
    "load_bundle": "perceiver_edge.bundle.hub",
}

__all__ = [
    "InputSpec", "ParityError", "Perceiver", "PerceiverConfig", "PerceiverEdgeError", "__version__", "compile",
    "load_bundle",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from perceiver_edge.installation import require_python

    require_python()
    if name == "compile":  # a missing library is an error that names the extra, also from Python
        from perceiver_edge.commands.libraries import COMPILER, require_libraries

        require_libraries(*COMPILER)
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
