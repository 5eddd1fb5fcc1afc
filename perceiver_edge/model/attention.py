"""Multi-head attention with pre-normalised queries and context."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import KerasTensor, ops

from perceiver_edge.model.layer_norm import LayerNorm
from perceiver_edge.model.linear import linear

LEAST_TOTAL = 1e-8
"""perceiver-pytorch's, for queries that no key gives itself to."""


class Attention(keras.layers.Layer):
    """softmax(LN(x) W_q (LN(c) W_k)^T / sqrt(dim_head)) LN(c) W_v W_o + b_o; without a context, c = x.

    Args:
        query_dim: channels of x and of the output.
        context_dim: channels of the context, which then has a LayerNorm of its own; None for self-attention.
        dim_head: channels of one head.
        dropout: rate at which attention weights are dropped in training.
    """

    def __init__(
        self,
        *,
        query_dim: int,
        context_dim: int | None,
        heads: int,
        dim_head: int,
        dropout: float,
        name: str,
        dtype: keras.DTypePolicy,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.query_dim = query_dim
        self.context_dim = context_dim
        self.heads = heads
        self.dim_head = dim_head
        width = heads * dim_head
        key_dim = query_dim if context_dim is None else context_dim

        self.norm = LayerNorm(name="norm", dtype=dtype)
        self.norm_context = None if context_dim is None else LayerNorm(name="norm_context", dtype=dtype)
        self.to_q = linear(query_dim, width, use_bias=False, name="to_q", dtype=dtype)
        self.to_kv = linear(key_dim, 2 * width, use_bias=False, name="to_kv", dtype=dtype)
        self.to_out = linear(width, query_dim, name="to_out", dtype=dtype)
        self.dropout = keras.layers.Dropout(dropout, name="dropout", dtype=dtype)

    def build(self, input_shape: object = None) -> None:
        self.norm.build((None, self.query_dim))
        if self.norm_context is not None:
            self.norm_context.build((None, self.context_dim))
        self.to_q.build((None, self.query_dim))
        self.to_kv.build((None, self.context_dim or self.query_dim))
        self.to_out.build((None, self.heads * self.dim_head))

    def call(
        self,
        x: KerasTensor,
        context: KerasTensor | None = None,
        attendable: KerasTensor | None = None,
        is_inverted: bool = False,
        training: bool | None = None,
    ) -> KerasTensor:
        """Attend from x ``[batch, queries, query_dim]`` to context ``[batch, keys, context_dim]``.

        Args:
            attendable: boolean ``[batch, keys]``, True where a key may be attended to. (Keras has its own meaning for
                the name `mask`.)
            is_inverted: each key divides itself among the queries, and each query averages over what it got (Locatello
                et al. 2020, arXiv:2006.15055).

        Returns:
            ``[batch, queries, query_dim]``, to be added to x.
        """
        x = self.norm(x)
        context = x if self.norm_context is None else self.norm_context(context)
        q = self._split_heads(self.to_q(x))
        k, v = (self._split_heads(t) for t in ops.split(self.to_kv(context), 2, axis=-1))

        scores = ops.einsum("bihd,bjhd->bhij", q, k) * self.dim_head**-0.5
        if attendable is not None:
            # The lowest finite number, not -inf: a row with every key masked becomes uniform instead of NaN.
            scores = ops.where(attendable[:, None, None, :], scores, tf.as_dtype(scores.dtype).min)
        # Not ops.softmax, which warns of an axis of size 1: one token or one latent is a Perceiver, too.
        weights = tf.nn.softmax(scores, axis=-2 if is_inverted else -1)
        if is_inverted:
            if attendable is not None:
                weights = ops.where(attendable[:, None, None, :], weights, 0.0)
            weights = weights / ops.maximum(ops.sum(weights, axis=-1, keepdims=True), LEAST_TOTAL)
        weights = self.dropout(weights, training=training)
        return self.to_out(self._merge_heads(ops.einsum("bhij,bjhd->bihd", weights, v)))

    def _split_heads(self, x: KerasTensor) -> KerasTensor:
        return ops.reshape(x, (-1, x.shape[1], self.heads, self.dim_head))

    def _merge_heads(self, x: KerasTensor) -> KerasTensor:
        return ops.reshape(x, (-1, x.shape[1], self.heads * self.dim_head))
