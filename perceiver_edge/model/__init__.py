"""The reference Perceiver in Keras on TensorFlow, written to be read."""

from perceiver_edge.model.backend import require_tensorflow_backend

require_tensorflow_backend()

from perceiver_edge.model.perceiver import Perceiver  # noqa: E402

__all__ = ["Perceiver"]
