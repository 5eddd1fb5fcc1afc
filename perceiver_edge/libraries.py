"""The libraries a command needs: checked before its long work, and TensorFlow imported without its notices."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from perceiver_edge.errors import MissingExtraError

COMPILER = (
    "tensorflow", "keras", "tf2onnx", "onnx", "onnxscript", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer",
    "jinja2",
)  # fmt: skip
VERIFIER = ("onnx", "onnxruntime", "ai_edge_litert")

_STDERR = 2
_ERRORS_ONLY = "2"


def require_libraries(*names: str) -> None:
    """Find packages without importing them.

    Raises:
        MissingExtraError: the first that is not installed.
    """
    for name in names:
        try:
            is_installed = find_spec(name) is not None
        except ImportError:
            is_installed = False
        if not is_installed:
            raise MissingExtraError(name, "convert")


def import_tensorflow() -> None:
    """Import Keras on TensorFlow now, and keep TensorFlow's C++ notices off the terminal, later ones too.

    Its errors are shown. Who sets ``TF_CPP_MIN_LOG_LEVEL`` decides what is shown later.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        BadInputError: Keras is told to run on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _ERRORS_ONLY)
    with _silent_unless_it_fails():  # some notices come before TensorFlow has read that variable
        import perceiver_edge.model  # noqa: F401


@contextmanager
def _silent_unless_it_fails() -> Iterator[None]:
    """Hold back what is written to file descriptor 2; show it only if the block raises."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # no stderr at all, as in a daemon
            yield
            return
        os.dup2(held.fileno(), _STDERR)
        with os.fdopen(terminal, "wb") as out:
            try:
                yield
            except BaseException:
                sys.stderr.flush()
                held.seek(0)
                shutil.copyfileobj(held, out)
                raise
            finally:
                sys.stderr.flush()
                os.dup2(terminal, _STDERR)
