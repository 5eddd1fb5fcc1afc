"""What the usual converters make of a plain Perceiver, each used as its own documentation says.

``python benchmarks/peers.py WORK FILE`` makes one of `PEERS`. `peer_files` calls it so, one process each: a converter's
memory (several times the model's) goes back to the system before anything is timed.

Needs besides perceiver-edge[convert]: sympy, for ONNX Runtime's ``quant_pre_process``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MODEL, CALIBRATION = "model", "calibration.npy"
"""In a work folder: the checkpoint, and samples ``[n, *axes, channels]`` float32."""

FLOAT_ONNX = "plain_fp32.onnx"
OPSET = 18
"""The newest that tf2onnx 1.17 is sure of."""


@dataclass(frozen=True)
class Peer:
    """``made_by``: the tool, as a reader knows it. ``make``: work folder → model bytes."""

    made_by: str
    format: str
    precision: str
    make: Callable[[Path], bytes]


def _plain_function(work: Path) -> Any:
    """The Keras reference as a ``tf.function`` of one input ``[1, *axes, channels]``."""
    import tensorflow as tf

    from perceiver_edge.checkpoints import load_checkpoint
    from perceiver_edge.model import Perceiver

    checkpoint = load_checkpoint(work / MODEL)
    assert checkpoint.input_spec is not None
    model = Perceiver.from_checkpoint(checkpoint)
    shape = (1, *checkpoint.input_spec.shape, checkpoint.config.input_channels)
    return tf.function(model, input_signature=[tf.TensorSpec(shape, tf.float32, name="input")], autograph=False)


def _tflite_converter(work: Path) -> Any:
    """With the variables frozen: else READ_VARIABLE operators stay in the model and calibration fails on them."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = _plain_function(work)  # held by a name: the graph alone does not keep the variables alive
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def tflite_float(work: Path) -> bytes:
    return _tflite_converter(work).convert()


def tflite_dynamic_range(work: Path) -> bytes:
    import tensorflow as tf

    converter = _tflite_converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def tflite_full_int8(work: Path) -> bytes:
    """Every operator in int8; the input and the output stay float32, the converter's default."""
    import tensorflow as tf

    samples = np.load(work / CALIBRATION)
    converter = _tflite_converter(work)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[np.newaxis]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def onnx_float(work: Path) -> bytes:
    import tf2onnx

    function = _plain_function(work)
    model, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    return model.SerializeToString()


def onnx_static_qdq(work: Path) -> bytes:
    """``quantize_static`` with its defaults (QDQ, min-max, all operators), on a pre-processed model."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    samples = np.load(work / CALIBRATION)

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._feeds: Iterator[dict[str, np.ndarray]] = iter({"input": sample[np.newaxis]} for sample in samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
        quant_pre_process(work / FLOAT_ONNX, prepared)
        quantize_static(prepared, quantized, Reader())
        return quantized.read_bytes()


def onnx_dynamic(work: Path) -> bytes:
    """``quantize_dynamic`` with its defaults, on the model as tf2onnx made it."""
    from onnxruntime.quantization import quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder, "quantized.onnx")
        quantize_dynamic(work / FLOAT_ONNX, quantized)
        return quantized.read_bytes()


PEERS = {
    "plain_fp32.tflite": Peer("TF converter float32", "tflite", "fp32", tflite_float),
    "plain_dynamic.tflite": Peer("TF converter dynamic", "tflite", "dynamic", tflite_dynamic_range),
    "plain_int8.tflite": Peer("TF converter full int8", "tflite", "int8", tflite_full_int8),
    FLOAT_ONNX: Peer("tf2onnx float32", "onnx", "fp32", onnx_float),
    "plain_dynamic.onnx": Peer("ORT quantize_dynamic", "onnx", "dynamic", onnx_dynamic),
    "plain_int8.onnx": Peer("ORT quantize_static", "onnx", "int8", onnx_static_qdq),
}
"""By file name, each after what it is made from."""


def main(work: Path, file_name: str) -> None:
    content = PEERS[file_name].make(work)
    unfinished = work / f"{file_name}.unfinished"
    unfinished.write_bytes(content)
    unfinished.replace(work / file_name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
