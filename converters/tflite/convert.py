"""Concrete function → float TFLite model, with the TensorFlow converter; builtin operators only."""

from __future__ import annotations

import re

import tensorflow as tf

from perceiver_edge.converters.tflite.weights import with_weights, without_weights
from perceiver_edge.converters.trace import Traced
from perceiver_edge.errors import ConversionError, first_line


def to_tflite(traced: Traced) -> bytes:
    """Convert to float32 TFLite.

    Raises:
        ConversionError: an operator has no TFLite builtin; the message names it. Flex operators are never used.
    """
    function, weights = without_weights(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return with_weights(bytes(converter.convert()), weights)
    except tf.errors.OpError as error:
        raise _conversion_error(error) from error
    except Exception as error:
        if type(error).__name__ == "ConverterError":  # its class is not public
            raise _conversion_error(error) from error
        raise


def _conversion_error(error: Exception) -> ConversionError:
    operators = sorted(set(re.findall(r"\b(tf\.[A-Z]\w+)", str(error))))
    return ConversionError(
        "The model cannot be expressed with TFLite builtin operators.",
        expected="builtin operators only (no Flex)",
        got=", ".join(operators) or first_line(error),
    )
