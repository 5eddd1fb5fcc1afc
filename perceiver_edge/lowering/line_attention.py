"""Attention to the tokens of a grid, line by line, with TensorFlow; `take_lines` has the equations.

B batch, L lines, W tokens of a line, c channels of a token in it, N rows, h heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from perceiver_edge.lowering.context import ScaledTokens, zeros_like
from perceiver_edge.lowering.exponential_attention import scaled_and_masked, total_of, with_one


@dataclass(frozen=True)
class Lines:
    """``columns`` ``[B, L, c, W]``, and the same as ``rows`` ``[B, L, W, c]``. The channels: the data's and those of
    the positions along the line, both over σ; 1 / σ; ones. ``outer`` ``[1, L, p]``: the positions of the lines."""

    columns: tf.Tensor
    rows: tf.Tensor
    outer: tf.Tensor
    data_channels: int

    def part(self, start: int, size: int) -> Lines:
        """So many lines from one on."""
        batch, _, *of_line = self.rows.shape
        rows = tf.slice(self.rows, [0, start, 0, 0], [batch, size, *of_line])
        columns = tf.slice(self.columns, [0, start, 0, 0], [batch, size, *of_line[::-1]])
        outer = tf.slice(self.outer, [0, start, 0], [1, size, self.outer.shape[2]])
        return Lines(columns, rows, outer, self.data_channels)


def lines_of(tokens: ScaledTokens) -> Lines:
    """The tokens of a grid in lines along its last axis."""
    batch, count, data_channels = tokens.data.shape
    inner = tokens.tensor(tokens.tables[-1])
    width = inner.shape[0]
    lines = count // width
    one = tf.reshape(tokens.inverse_sigma, [batch, lines, 1, width])
    data = tf.reshape(tokens.data, [batch, lines, width, data_channels])
    # With one channel a transposition is a change of shape, and cheaper so.
    data = tf.reshape(data, one.shape) if data_channels == 1 else tf.transpose(data, [0, 1, 3, 2])
    parts = [data * one, one * tf.transpose(inner), one, zeros_like(one) + 1.0]
    columns = tf.concat(parts, axis=2)
    return Lines(columns, tf.transpose(columns, [0, 1, 3, 2]), tokens.tensor(tokens.outer)[tf.newaxis], data_channels)


def attend(
    query: tf.Tensor,
    lines: Callable[[int, int], Lines],
    *,
    num_lines: int,
    chunks: int,
    scale: float,
    mask: tf.Tensor | None,
    ceiling: float | None,
) -> tf.Tensor:
    """What every query attends to; the result is that of `float_attention.attend` on the whole context.

    Args:
        query: ``[B, h, N, C]``, C the channels of the whole context.
        lines: gives so many, from one on.
        chunks: how many equal parts the lines are taken in.
        mask: boolean ``[B, 1, 1, L * W]``.
        ceiling: see `CrossAttention`.
    """
    batch, heads, count, channels = query.shape
    query, weight_of_token = scaled_and_masked(query, scale, mask)
    if weight_of_token is not None:
        weight_of_token = tf.reshape(weight_of_token, [batch, num_lines, -1, 1])
    queries = tf.transpose(tf.reshape(with_one(query, ceiling), [batch, heads * count, channels + 1]), [0, 2, 1])
    weighted: tf.Tensor = None
    outer: tf.Tensor = None
    size = num_lines // chunks
    for start in range(0, num_lines, size):
        part = lines(start, size)
        if start == 0:
            # A constant on the right would be weights, for converters and quantisers: so it is none, though zero is
            # added.
            queries = queries + zeros_like(part.rows[:, 0, :1, -1:])
        weights = tf.exp(tf.matmul(part.rows, _right_sides(queries, part)))
        if weight_of_token is not None:
            weights = weights * weight_of_token[:, start : start + size]
        own = tf.matmul(part.columns, weights)  # [B, size, c, h * N]
        of_lines = tf.matmul(part.outer, own[:, :, -2], transpose_a=True)
        own = tf.reduce_sum(own, axis=1)
        weighted = own if weighted is None else weighted + own
        outer = of_lines if outer is None else outer + of_lines
    d, along = part.data_channels, part.rows.shape[-1] - 2
    attended = tf.concat([weighted[:, :d], outer, weighted[:, d:along]], axis=1)
    attended = attended / total_of(weighted[:, -1:], ceiling)
    return tf.reshape(tf.transpose(attended, [0, 2, 1]), [batch, heads, count, channels])


def _right_sides(queries: tf.Tensor, lines: Lines) -> tf.Tensor:
    """Queries ``[B, C + 1, n]`` → what each line's tokens are multiplied with, ``[B, L, c, n]``."""
    batch, _, count = queries.shape
    d, along = lines.data_channels, lines.columns.shape[2] - 2
    of_data, of_line, of_place, of_one = tf.split(queries, [d, lines.outer.shape[2], along - d, 1], axis=1)
    same = tf.concat([of_data, of_place, tf.zeros(of_one.shape, of_one.dtype), of_one], axis=1)
    own = tf.reshape(tf.matmul(lines.outer, of_line), [batch, -1, 1, count])
    is_own = tf.one_hot(along, along + 2, dtype=queries.dtype)
    return same[:, tf.newaxis] + own * is_own[tf.newaxis, tf.newaxis, :, tf.newaxis]
