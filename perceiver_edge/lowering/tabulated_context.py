"""Tokens of which tables say everything, with TensorFlow; `tabulate_tokens` has the equations.

B batch, T tokens, C context channels.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering.context import Context
from perceiver_edge.lowering.program import Linear, TokenTables
from perceiver_edge.lowering.source import Array
from perceiver_edge.lowering.tokens import ToTensor

Products = tuple[Array, Array]
"""What a product gives for each symbol ``[symbols, out]``, and for each place ``[T, out]``."""


class TabulatedContext(Context):
    """
    Args:
        symbols: int32 ``[B, T]``.
        tables: what is known of them.
        products: of both tables with weights, once they are known: so that a second run has the same arrays.
        tensor: gives an array as a tensor, the same for the same array.
    """

    def __init__(
        self, symbols: tf.Tensor, tables: TokenTables, products: dict[Linear, Products], *, tensor: ToTensor
    ) -> None:
        self._symbols, self._tables, self._products, self._tensor = symbols, tables, products, tensor
        self._projected: dict[Linear, tf.Tensor] = {}

    @cached_property
    def rows(self) -> tf.Tensor:
        return self._sums(self._tables.symbols, self._tables.places)

    def projected(self, linear: Linear) -> tf.Tensor:
        """Keys or values ``[B * T, out]``, each once."""
        if linear not in self._products:
            tables = self._tables
            self._products[linear] = tables.symbols @ linear.weight, tables.places @ linear.weight
        if linear not in self._projected:
            sums = self._sums(*self._products[linear])
            sums = sums if linear.bias is None else sums + self._tensor(linear.bias)
            self._projected[linear] = tf.reshape(sums, [-1, sums.shape[-1]])
        return self._projected[linear]

    def _sums(self, symbols: Array, places: Array) -> tf.Tensor:
        """``[B, T, channels]``."""
        rows = tf.gather(self._tensor(symbols), self._symbols)
        return (rows + self._tensor(places)) * self._inverse_sigma

    @cached_property
    def _inverse_sigma(self) -> tf.Tensor:
        """``[B, T, 1]``."""
        table = self._tables.inverse_sigma
        count, symbols = table.shape
        place = tf.constant(np.arange(count, dtype=np.int32) * symbols)
        return tf.gather(tf.reshape(self._tensor(table), [-1, 1]), self._symbols + place)
