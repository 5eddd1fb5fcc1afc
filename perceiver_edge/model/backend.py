"""Make sure that Keras runs on TensorFlow before any file of this package imports it."""

from __future__ import annotations

import os
import sys

from perceiver_edge.errors import BadInputError
from perceiver_edge.installation import broken_tensorflow, require_tensorflow


def require_tensorflow_backend() -> None:
    """Import Keras on TensorFlow.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        BadInputError: TensorFlow is too old, or broken, or there are two; or Keras runs on, or is told to run on,
            another backend.
    """
    if "keras" not in sys.modules:
        # An explicit choice of the user is never overwritten, and is refused before Keras tries to honour it.
        _refuse_other(os.environ.setdefault("KERAS_BACKEND", "tensorflow"))
    require_tensorflow()
    try:
        import keras
        import tensorflow  # noqa: F401
    except Exception as error:  # half a TensorFlow fails in many ways
        raise broken_tensorflow(error) from error
    _refuse_other(keras.backend.backend())


def _refuse_other(backend: str) -> None:
    if backend != "tensorflow":
        raise BadInputError(
            "Keras does not run on TensorFlow.",
            expected="the backend 'tensorflow'",
            got=repr(backend),
            where="the environment variable KERAS_BACKEND",
            fix="set KERAS_BACKEND=tensorflow before keras is imported",
        )
