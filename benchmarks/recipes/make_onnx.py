"""tf2onnx's model of the plain Perceiver, and what ONNX Runtime's own quantisers make of it or of PyTorch's file.

Both start from a pre-processed model, as their documentation says: constants are folded, so that the transposed weights
that PyTorch's exporter writes are weights again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plain_tensorflow import plain_function
from recipe import MODEL, calibration, make, rate_graph

FLOAT = "plain_fp32.onnx"
OPSET = 18
"""The newest that tf2onnx 1.17 is sure of."""

MOST_CONSTANT_BYTES = 400_000_000
"""tf2onnx copies constants many times over: 14 GB for the README model's 190 MB. Larger models are given to it with
their weights as inputs, which become initialisers afterwards: the same operators, in a tenth of the memory."""


def float32(work: Path, target: Path) -> None:
    weights = work / MODEL / "model.safetensors"
    if rate_graph(work) is None and weights.stat().st_size > MOST_CONSTANT_BYTES:
        target.write_bytes(_with_weights_as_inputs(work))
        return
    import tf2onnx

    function = plain_function(work)
    model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    target.write_bytes(model.SerializeToString())


def _with_weights_as_inputs(work: Path) -> bytes:
    import tensorflow as tf

    from perceiver_edge.checkpoints import load_checkpoint
    from perceiver_edge.converters.onnx.convert import translate
    from perceiver_edge.converters.trace import trace
    from perceiver_edge.lowering import plain_program
    from perceiver_edge.lowering.execute import LoweredPerceiver

    checkpoint = load_checkpoint(work / MODEL)
    assert checkpoint.input_spec is not None
    shape = checkpoint.input_spec.shape
    module = LoweredPerceiver(plain_program(checkpoint.config, checkpoint.weights, shape))
    inputs = {"input": ((1, *shape, checkpoint.config.input_channels), tf.float32)}
    return translate(trace(module, inputs=inputs, output_name="output")).SerializeToString()


@contextmanager
def _prepared(work: Path) -> Iterator[Path]:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(work / FLOAT, prepared)
        yield prepared


def static_qdq(work: Path, target: Path) -> None:
    """``quantize_static`` with its defaults: QDQ, min-max, all operators."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds = iter(calibration(work))

        def get_next(self) -> dict[str, Any] | None:
            return next(self._feeds, None)

    with _prepared(work) as prepared:
        quantize_static(prepared, target, Reader())


def dynamic(work: Path, target: Path) -> None:
    """``quantize_dynamic`` with its defaults."""
    from onnxruntime.quantization import quantize_dynamic

    with _prepared(work) as prepared:
        quantize_dynamic(prepared, target)


if __name__ == "__main__":
    make({FLOAT: float32, "plain_dynamic.onnx": dynamic, "plain_int8.onnx": static_qdq})
