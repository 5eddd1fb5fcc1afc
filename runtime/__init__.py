"""Run a compiled model on a device: numpy and one engine, never TensorFlow.

from perceiver_edge.runtime import load
logits = load("digits_int8.tflite")(image)
"""

from perceiver_edge.runtime.batches import batch
from perceiver_edge.runtime.classes import Guess
from perceiver_edge.runtime.engines import Engine
from perceiver_edge.runtime.execution import Execution
from perceiver_edge.runtime.loading import load
from perceiver_edge.runtime.probe import probe
from perceiver_edge.runtime.processors import default_threads
from perceiver_edge.runtime.runner import Runner, TensorSpec
from perceiver_edge.runtime.timing import Latency, interleaved_latency, paired_ratio

__all__ = [
    "Engine", "Execution", "Guess", "Latency", "Runner", "TensorSpec", "batch", "default_threads",
    "interleaved_latency", "load", "paired_ratio", "probe",
]  # fmt: skip
