"""The libraries a command needs: checked before its long work, and TensorFlow imported without its notices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from perceiver_edge.errors import MissingExtraError
from perceiver_edge.installation import require_tensorflow
from perceiver_edge.runtime._quiet import stderr_held_back

COMPILER = (
    "tensorflow", "keras", "tf2onnx", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "ai_edge_litert",
    "ai_edge_quantizer", "flatbuffers", "jinja2",
)  # fmt: skip
VERIFIER = {
    "tflite": ("ai_edge_litert",),
    "onnx": ("onnxruntime", "onnx"),
}
"""What proving an artefact of a format again needs; and, of every bundle, rich."""

_ERRORS_ONLY = "2"


def require_libraries(*names: str, extra: str = "convert") -> None:
    """Find packages without importing them; ``extra`` brings them.

    Raises:
        MissingExtraError: the first that is not installed.
        BadInputError: TensorFlow is too old, or there are two, or none for this Python.
    """
    for name in names:
        if name == "tensorflow":  # which no extra can promise
            require_tensorflow()
            continue
        try:
            is_installed = find_spec(name) is not None
        except ImportError:
            is_installed = False
        if not is_installed:
            raise MissingExtraError(name, extra)


def import_tensorflow() -> None:
    """Import Keras on TensorFlow now, and keep TensorFlow's C++ notices off the terminal, later ones too.

    Its errors are shown. Who sets ``TF_CPP_MIN_LOG_LEVEL`` decides what is shown later.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        BadInputError: TensorFlow is too old, or broken, or there are two; or Keras is told to run on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _ERRORS_ONLY)
    with _silent_unless_it_fails():  # some notices come before TensorFlow has read that variable
        import perceiver_edge.model  # noqa: F401


@contextmanager
def _silent_unless_it_fails() -> Iterator[None]:
    failed = False
    with stderr_held_back(shows=lambda line: failed):
        try:
            yield
        except BaseException:
            failed = True
            raise
