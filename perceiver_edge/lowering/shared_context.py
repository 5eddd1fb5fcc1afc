"""The tokens that latents attend to, and what is made of them for several cross-attends: each once, with TensorFlow.

B batch, T tokens, C context channels, g groups (matrices of keys or values), R rows of queries in each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering.context import Context
from perceiver_edge.lowering.integer_attention import Chunks, append_ones
from perceiver_edge.lowering.line_attention import Lines, lines_of
from perceiver_edge.lowering.program import CrossAttention, IntegerCore, Linear


@dataclass(frozen=True)
class CoreOperands:
    """``query`` ``[B, g, R, d]``; the centred ``context`` ``[B, T, C]`` and its mean ``[B, 1, C]``; centred ``keys``
    ``[B, g, T, d]`` and ``values`` ``[B, g, T, e]``; the exact ``average`` of the values ``[B, g, R, e]``, and the
    ``mean_value`` ``[B, g, 1, e]`` that they were centred by. ``is_absorbed``: both are the context itself."""

    query: tf.Tensor
    context: tf.Tensor
    context_mean: tf.Tensor
    keys: tf.Tensor
    values: tf.Tensor
    average: tf.Tensor
    mean_value: tf.Tensor
    is_absorbed: bool


class SharedContext:
    """
    Args:
        context: the tokens.
        chunks: in whose order they are.
        linear: runs a projection of a matrix under a name.
        tensor: gives an array as a tensor, the same for the same array.
    """

    def __init__(
        self,
        context: Context,
        *,
        chunks: int,
        linear: Callable[[tf.Tensor, Linear, str], tf.Tensor],
        tensor: Callable[[np.ndarray], tf.Tensor],
    ) -> None:
        self._context, self._chunks, self._linear, self._tensor = context, chunks, linear, tensor
        self._made: dict[Hashable, Any] = {}

    def projection(self, tokens: tf.Tensor, linear: Linear, name: str) -> tf.Tensor:
        """Keys or values of all tokens ``[B * T, h * d]``; a Linear always reads the same tokens."""
        return self._once(
            ("projection", id(linear)),
            lambda: self._linear(tf.reshape(tokens, [-1, tokens.shape[-1]]), linear, name),
        )

    @property
    def num_lines(self) -> int:
        """Of a grid, along its last axis."""
        grid = self._context.grid
        assert grid is not None, "see `take_lines`"
        return int(grid.data.shape[1]) // len(grid.tables[-1])

    def lines(self, start: int, size: int) -> Lines:
        """So many of these, from one on."""
        grid = self._context.grid
        assert grid is not None
        width = len(grid.tables[-1])
        part = self._context.made_alone(start * width, size * width)
        return self._once("lines", lambda: lines_of(grid)).part(start, size) if part is None else lines_of(part)

    def chunks(self, linear: Linear | None, core: IntegerCore, *, ones: float, name: str) -> Chunks:
        """Keys or values of the centred tokens, in chunks, with their channels of ones."""

        def make() -> Chunks:
            tokens, _ = self._centred()
            if linear is None:
                return Chunks(append_ones(tokens, ones), 1, self._chunks)
            projected = self.projection(tokens, linear, name)
            return Chunks(tf.reshape(projected, [*tokens.shape[:2], -1]), core.bound.shape[0], self._chunks)

        return self._once(("chunks", id(linear), ones), make)

    def mean_value(self, core: IntegerCore, name: str) -> tf.Tensor:
        """What values are centred by, ``[B, g, 1, e]``."""
        _, mean = self._centred()
        batch, groups = mean.shape[0], core.bound.shape[0]
        linear = core.mean_value
        if linear is None:
            # Once: converters merge equal operators, and which of them stays is not the same in every run.
            return self._once(("mean value", None), lambda: tf.expand_dims(mean, 1))
        projected = self._once(
            ("mean value", id(linear)),
            lambda: self._linear(tf.reshape(mean, [batch, -1]), linear, name),
        )
        return tf.reshape(projected, [batch, groups, 1, -1])

    def core_operands(self, query: tf.Tensor, block: CrossAttention, attended: tf.Tensor) -> CoreOperands:
        """What the int8 form of a float cross-attend would compute with; query and attended are ``[B, h, N, …]``."""
        context, mean = self._centred()
        keys, values = (self._grouped(context, linear, block.heads) for linear in (block.key, block.value))
        batch, groups = values.shape[:2]
        query, attended = (tf.reshape(t, [batch, groups, -1, t.shape[-1]]) for t in (query, attended))
        mean_value = self._grouped(mean, block.value, block.heads)
        if block.value is not None and block.value.bias is not None:
            mean_value += tf.reshape(self._tensor(block.value.bias), [1, groups, 1, -1])
        return CoreOperands(query, context, mean, keys, values, attended - mean_value, mean_value, block.key is None)

    def _centred(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The context without its mean over tokens, and the mean ``[B, 1, C]``."""

        def make() -> tuple[tf.Tensor, tf.Tensor]:
            mean = tf.reduce_mean(self._context.rows, axis=1, keepdims=True)
            return self._context.rows - mean, mean

        return self._once("centred", make)

    def _grouped(self, tokens: tf.Tensor, linear: Linear | None, heads: int) -> tf.Tensor:
        """``[B, t, C]`` → keys or values without their bias ``[B, g, t, d]``."""
        if linear is None:
            return tokens[:, tf.newaxis]

        def make() -> tf.Tensor:
            product = tf.matmul(tokens, self._tensor(linear.weight))
            return tf.transpose(tf.reshape(product, [*product.shape[:2], heads, -1]), [0, 2, 1, 3])

        return self._once(("grouped", id(linear), tokens.shape[1]), make)

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
