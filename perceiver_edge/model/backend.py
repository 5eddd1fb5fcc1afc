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
            another backend; or TensorFlow was told not to execute eagerly.
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
    require_eager_execution()


def require_eager_execution() -> None:
    """Raises BadInputError where TensorFlow only builds graphs, as it does after ``disable_eager_execution``."""
    import tensorflow as tf

    if not tf.executing_eagerly():
        raise BadInputError(
            "TensorFlow does not execute eagerly here, and Keras 3 and this package need that.",
            expected="eager execution, which is TensorFlow's default",
            fix="leave out tf.compat.v1.disable_eager_execution() and disable_v2_behavior(), or compile in another "
            "process: python -m perceiver_edge.convert --model …; and call this outside of tf.function",
        )


def _refuse_other(backend: str) -> None:
    if backend != "tensorflow":
        raise BadInputError(
            "Keras does not run on TensorFlow.",
            expected="the backend 'tensorflow'",
            got=repr(backend),
            where="the environment variable KERAS_BACKEND",
            fix="set KERAS_BACKEND=tensorflow before keras is imported",
        )
