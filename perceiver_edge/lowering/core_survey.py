"""What a float cross-attend tells about its int8 form (`integer_core`): extents, and what int8 would lose.

With TensorFlow. Everything is computed on one batch and comes back small; calibration collects it over samples.
"""

from __future__ import annotations

import math

import tensorflow as tf

from perceiver_edge.lowering.chunk_keys import fewest_parts, token_order
from perceiver_edge.lowering.integer_core import (
    ROOM,
    SCORE_RANGE,
    SHIFT_CHANNELS,
    SIGMOID_SHIFT,
    STEPS,
    UNSATURATED,
)
from perceiver_edge.lowering.shared_context import CoreOperands

_MOST_SCORES = 1 << 22
"""Of a block of rows, in float32."""


def extents(operands: CoreOperands) -> dict[str, tf.Tensor]:
    """``bound`` ``[g * R]``: the largest score of each row; of everything else ``[min, max]``."""
    scores = tf.matmul(operands.query, operands.keys, transpose_b=True)
    found = {
        name: _range(getattr(operands, name))
        for name in ("query", "context", "context_mean", "keys", "values", "mean_value")
    }
    return found | {"bound": tf.reshape(tf.reduce_max(scores, axis=[0, -1]), [-1])}


def loss(operands: CoreOperands, bound: tf.Tensor, *, chunks: int) -> dict[str, tf.Tensor]:
    """What int8 would make of this core, its weights and its products with the bound ``[g * R]``.

    Left out: int8 in the projections of query and context, which every int8 model has, with or without an int8 core.

    Returns:
        ``error``: squared L2 error of what is attended to by elu and by sigmoid, and its squared norm.
        ``weighted``, ``total``: [min, max] over the chunks.
    """
    rows = operands.query.shape[2]
    # The query shares its scale with what it holds against the channels of ones.
    lowest = -(tf.reduce_max(bound) + SIGMOID_SHIFT) / (SHIFT_CHANNELS * tf.reduce_max(tf.abs(operands.keys)))
    query = _rounded(operands.query, lowest=lowest)
    order = token_order(operands.keys.shape[2], chunks)

    def rounded(limit: int) -> tuple[tf.Tensor, tf.Tensor]:
        keys, values = (tf.gather(_symmetric(t, limit), order, axis=2) for t in (operands.keys, operands.values))
        return keys, values

    keys, values = rounded(STEPS // 2)
    coarse_keys, coarse_values = rounded(UNSATURATED) if operands.is_absorbed else (keys, values)
    bound = tf.reshape(bound, [1, -1, rows, 1])

    def sums(given: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        lowered, coarse = (tf.matmul(given[0], k, transpose_b=True) - given[1] for k in (keys, coarse_keys))
        return *_elu_sums(lowered, values, chunks), _sigmoid_averages(coarse, coarse_values)

    # Rows have nothing to do with each other: so many at a time that what is made of their scores stays in a cache.
    blocks = _num_blocks(rows, keys.shape[1] * keys.shape[2])
    float_ = operands.query.dtype
    by_block = tf.map_fn(
        sums, (_in_blocks(query, blocks), _in_blocks(bound, blocks)), fn_output_signature=(float_,) * 3,
        parallel_iterations=1,
    )  # fmt: skip
    weighted, total, sigmoid = (_joined(sums) for sums in by_block)
    of_values = tf.reduce_sum(values, axis=2, keepdims=True)
    elu = (tf.reduce_sum(_rounded(weighted, room=ROOM), axis=0) + of_values) / (
        tf.maximum(tf.reduce_sum(_rounded(total, room=ROOM), axis=0) + tf.cast(len(order), total.dtype), 1.0)
    )
    means = (tf.reduce_mean(v, axis=2, keepdims=True) for v in (values, coarse_values))
    errors = [
        tf.reduce_sum((form - mean - operands.average) ** 2) for form, mean in zip((elu, sigmoid), means, strict=True)
    ]
    norm = tf.reduce_sum((operands.average + operands.mean_value) ** 2)
    return {
        "error": tf.stack([*errors, norm]),
        "weighted": _range(weighted),
        "total": _range(total),
    }


def _elu_sums(lowered: tf.Tensor, values: tf.Tensor, chunks: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Each chunk's weighted sum of values, and its sum of weights: ``[chunks, B, g, r, e or 1]``."""
    step = SCORE_RANGE / STEPS
    weights = tf.exp(tf.clip_by_value(tf.round(lowered / step) * step, -SCORE_RANGE, 0.0))
    elu = tf.round(weights * STEPS) / STEPS - 1.0
    parts = tf.split(elu, chunks, axis=-1)
    weighted = [tf.matmul(*both) for both in zip(parts, tf.split(values, chunks, axis=2), strict=True)]
    return tf.stack(weighted), tf.stack([tf.reduce_sum(part, axis=-1, keepdims=True) for part in parts])


def _sigmoid_averages(lowered: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """``[B, g, r, e]``."""
    step = (SCORE_RANGE + SIGMOID_SHIFT) / STEPS
    lowered = tf.clip_by_value(
        tf.round((lowered - SIGMOID_SHIFT) / step) * step, -SCORE_RANGE - SIGMOID_SHIFT, -SIGMOID_SHIFT
    )
    weights = tf.round(tf.sigmoid(lowered) * (STEPS * (1 + math.exp(SIGMOID_SHIFT)))) / STEPS
    return tf.matmul(weights, values) / tf.maximum(tf.reduce_sum(weights, -1, keepdims=True), 1.0)


def _num_blocks(rows: int, scores: int) -> int:
    """The fewest equal blocks of rows, of so many scores a row, with at most `_MOST_SCORES`; or one for every row."""
    return fewest_parts(rows, fits=lambda blocks: rows // blocks * scores <= _MOST_SCORES, most=rows)


def _in_blocks(rows: tf.Tensor, blocks: int) -> tf.Tensor:
    """``[B, g, R, d]`` → ``[blocks, B, g, R / blocks, d]``."""
    return tf.stack(tf.split(rows, blocks, axis=2))


def _joined(blocks: tf.Tensor) -> tf.Tensor:
    """``[blocks, ..., r, e]`` → ``[..., R, e]``."""
    return tf.concat(tf.unstack(blocks), axis=-2)


def _rounded(values: tf.Tensor, *, room: float = 0.0, lowest: tf.Tensor | float = 0.0) -> tf.Tensor:
    """To 256 levels from minimum (at most ``lowest``) to maximum, both moved out by ``room`` widths."""
    low, high = tf.minimum(tf.reduce_min(values), lowest), tf.maximum(tf.reduce_max(values), 0.0)
    return _to_steps(values, (high - low) * (1 + 2 * room) / STEPS)


def _symmetric(values: tf.Tensor, limit: int) -> tf.Tensor:
    """To whole numbers of steps, ``limit`` of which are the largest magnitude."""
    return _to_steps(values, tf.reduce_max(tf.abs(values)) / limit)


def _to_steps(values: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    step = tf.maximum(step, 1e-30)
    return tf.round(values / step) * step


def _range(values: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.reduce_min(values), tf.reduce_max(values)])
