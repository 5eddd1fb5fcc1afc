"""What a Perceiver may be called on, checked with the shapes and dtypes that are known before it runs."""

from __future__ import annotations

import keras
from keras import KerasTensor

from perceiver_edge.config import PerceiverConfig
from perceiver_edge.errors import BadInputError


def check_inputs(inputs: KerasTensor, mask: KerasTensor | None, config: PerceiverConfig) -> None:
    """Accept float inputs ``[batch, *axes, channels]`` and a boolean mask ``[batch, *axes]``.

    Raises:
        BadInputError: anything else.
    """
    axes = ("length",), ("height", "width"), ("frames", "height", "width")
    named = ["batch", *axes[config.input_axis - 1], str(config.input_channels)]
    expected = f"[{', '.join(named)}]"
    shape = tuple(inputs.shape)
    if len(shape) != len(named):
        raise BadInputError("The input has the wrong number of axes.", expected=expected, got=f"shape {shape}")
    if shape[-1] != config.input_channels:
        raise BadInputError("The input has the wrong number of channels.", expected=expected, got=f"shape {shape}")
    if None in shape[1:] or 0 in shape[1:]:
        raise BadInputError(
            "The sizes of the input axes must be known and at least 1.", expected=expected, got=f"shape {shape}"
        )
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if "float" not in dtype:
        raise BadInputError(
            "The input has the wrong dtype.", expected="floating point", got=dtype, fix="scale and cast it first"
        )
    if mask is not None:
        _check_mask(mask, shape)


def _check_mask(mask: KerasTensor, input_shape: tuple[int | None, ...]) -> None:
    shape, expected = tuple(mask.shape), input_shape[:-1]
    # Within a traced function the batch size of either may be unknown.
    same_batch = None in (*shape[:1], *expected[:1]) or shape[:1] == expected[:1]
    if shape[1:] != expected[1:] or len(shape) != len(expected) or not same_batch:
        raise BadInputError("The mask does not fit the input.", expected=f"shape {expected}", got=f"shape {shape}")
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype != "bool":
        raise BadInputError("The mask has the wrong dtype.", expected="bool, True = attend", got=dtype)
