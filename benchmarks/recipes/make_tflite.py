"""The TF converter's own models of the plain Perceiver, each as its documentation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plain_tensorflow import plain_function
from recipe import calibration, make


def converter(work: Path) -> Any:
    """With the variables frozen: else READ_VARIABLE operators stay in the model and calibration fails on them."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = plain_function(work)  # held by a name: the graph alone does not keep the variables alive
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def float32(work: Path, target: Path) -> None:
    target.write_bytes(converter(work).convert())


def dynamic_range(work: Path, target: Path) -> None:
    import tensorflow as tf

    chosen = converter(work)
    chosen.optimizations = [tf.lite.Optimize.DEFAULT]
    target.write_bytes(chosen.convert())


def full_int8(work: Path, target: Path) -> None:
    """Every operator in int8; the input and the output stay float32, the converter's default."""
    import tensorflow as tf

    samples = calibration(work)
    chosen = converter(work)
    chosen.optimizations = [tf.lite.Optimize.DEFAULT]
    chosen.representative_dataset = lambda: (list(feeds.values()) for feeds in samples)
    chosen.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    target.write_bytes(chosen.convert())


if __name__ == "__main__":
    make({"plain_fp32.tflite": float32, "plain_dynamic.tflite": dynamic_range, "plain_int8.tflite": full_int8})
