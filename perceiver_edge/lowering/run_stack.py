"""Run one `Stack` of a `Program` with TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering import (
    attention_residual,
    exponential_attention,
    float_attention,
    integer_attention,
    inverted_attention,
    line_attention,
    padded_attention,
    row_attention,
)
from perceiver_edge.lowering.activations import ACTIVATIONS
from perceiver_edge.lowering.context import Context, zeros_like
from perceiver_edge.lowering.drop_maximum import is_by_token
from perceiver_edge.lowering.float_attention import scaled, split_heads
from perceiver_edge.lowering.integer_attention import Chunks
from perceiver_edge.lowering.program import (
    AttentionResidual,
    Block,
    CrossAttention,
    Extent,
    FeedForward,
    IntegerCore,
    Linear,
    Norm,
    SelfAttention,
    Stack,
)
from perceiver_edge.lowering.row_attention import RowOperands
from perceiver_edge.lowering.shared_context import CoreOperands, SharedContext
from perceiver_edge.lowering.tabulated_context import TabulatedContext
from perceiver_edge.lowering.tokens import layer_norm

CoreTap = Callable[[str, CoreOperands], None]
"""Called with the name of a cross-attend and what its int8 form would compute with."""

RowTap = Callable[[str, RowOperands], None]
"""Called with the name of a self-attend and what its int8 form would compute with."""


class RunLinear(Protocol):
    """Runs a projection of a matrix under a name. ``hull``: gives values that enclose all that x can ever take."""

    def __call__(
        self, x: tf.Tensor, linear: Linear, name: str, *, hull: Callable[[], tf.Tensor] | None = None
    ) -> tf.Tensor: ...


class Arithmetic(Protocol):
    """Computes products in other numbers than floats; its name tells each product and each integer core."""

    def linear(
        self, x: tf.Tensor, linear: Linear, name: str, *, hull: Callable[[], tf.Tensor] | None = None
    ) -> tf.Tensor:
        """See `RunLinear`."""

    def attend(
        self, query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore, shift: tf.Tensor, *, name: str
    ) -> tf.Tensor:
        """See `integer_attention.attend`."""

    def attend_rows(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, shift: tf.Tensor | None, *, name: str
    ) -> tf.Tensor:
        """See `row_attention.attend`."""


def feed_forward(normed: tf.Tensor, block: FeedForward, name: str, linear: RunLinear, suffix: str = "") -> tf.Tensor:
    """Of rows ``[n, D]`` that are normalised already; ``suffix`` of the names of its products."""
    hidden = linear(normed, block.up, f"{name}.up{suffix}")
    activate = ACTIVATIONS[block.activation]
    if block.is_gated:
        values, gates = tf.split(hidden, 2, axis=-1)
        return linear(values * activate(gates), block.down, f"{name}.down{suffix}")
    return linear(activate(hidden), block.down, f"{name}.down{suffix}")


class StackRun:
    """One stack, once, on a context with a mask ``[B, ...]`` of T booleans.

    B batch, T tokens, C context channels, N rows, D their channels, h heads, d per head.
    """

    def __init__(
        self,
        stack: Stack,
        extent: Extent,
        context: Context,
        mask: tf.Tensor | None,
        *,
        batch: int,
        linear: RunLinear,
        tensor: Callable[[np.ndarray], tf.Tensor],
        cores: Container[str],
        core_tap: CoreTap | None,
        row_tap: RowTap | None,
        arithmetic: Arithmetic | None,
    ) -> None:
        self.extent = extent
        self.stack, self.linear, self.tensor, self.cores, self.core_tap = stack, linear, tensor, cores, core_tap
        self.row_tap, self.arithmetic, self.batch = row_tap, arithmetic, batch
        assert mask is None or stack.chunks == 1, "a mask is not in the order of chunks, and integer cores have none"
        self.mask = None if mask is None else tf.reshape(mask, [self.batch, 1, 1, extent.tokens])
        self.context = context
        self.shared = SharedContext(self.context, chunks=stack.chunks, linear=linear, tensor=tensor)

    def rows(self, asking: tf.Tensor | None, suffix: str = "") -> tf.Tensor:
        """What comes out of the layers, ``[B * N, D]``. ``asking`` ``[B, N, D]`` go in where no rows are learned.

        ``suffix``: of the blocks' names, where the rows come in parts.
        """
        learned = self.stack.rows
        if isinstance(learned, np.ndarray):
            rows = tf.tile(self.tensor(learned), [self.batch, 1])
        else:
            assert asking is not None
            rows = tf.reshape(asking, [-1, asking.shape[-1]])
        given: list[tf.Tensor] = []
        for index, layer in enumerate(self.stack.layers):
            if layer.pools and not given:
                kept = self.stack.pooled_rows
                given.append(rows if kept is None else tf.tile(self.tensor(kept), [self.batch, 1]))
            for block_name, block in layer.blocks:
                name = f"{self.stack.name}.{index}.{block_name}{suffix}"
                with tf.name_scope(name):
                    rows = self.block(rows, block, name, given)
        return rows

    def block(self, rows: tf.Tensor, block: Block, name: str, given: list[tf.Tensor]) -> tf.Tensor:
        """``given``: what went into the first layer that pools, and what each layer since gave."""
        if isinstance(block, AttentionResidual):
            given.append(rows)
            return attention_residual.pool(given, block, name, batch=self.batch, linear=self.linear)
        attended = self.attended(rows, block, name)
        return rows + attended if block.is_residual else attended

    def attended(self, rows: tf.Tensor, block: CrossAttention | SelfAttention | FeedForward, name: str) -> tf.Tensor:
        match block:
            case CrossAttention():
                return self.cross_attention(rows, block, name)
            case SelfAttention():
                return self.self_attention(rows, block, name)
            case FeedForward():
                return feed_forward(self.norm(rows, block.norm), block, name, self.linear)

    def cross_attention(self, rows: tf.Tensor, block: CrossAttention, name: str) -> tf.Tensor:
        query = split_heads(self.query(rows, block, name), block.heads, self.batch)
        if block.core is not None:
            attended, hull = self.integer_core(query, block, block.core, name), None
        else:
            attended, hull = self.float_core(query, block, name)
        merged = self.merged_heads(attended)
        return merged if block.output is None else self.linear(merged, block.output, f"{name}.output", hull=hull)

    def query(self, rows: tf.Tensor, block: CrossAttention, name: str) -> tf.Tensor:
        """``[B * N, h * d]``."""
        if isinstance(block.query, np.ndarray):
            return tf.tile(self.tensor(block.query), [self.batch, 1])
        normed = rows if block.norm is None else self.norm(rows, block.norm)
        if block.query is None:
            return tf.concat([normed, zeros_like(normed[:, :1]) + 1.0], axis=1)
        return self.linear(normed, block.query, f"{name}.query")

    def float_core(
        self, query: tf.Tensor, block: CrossAttention, name: str
    ) -> tuple[tf.Tensor, Callable[[], tf.Tensor]]:
        """Queries ``[B, h, N, d]`` → what they attend to ``[B, h, N, e]``, and the tokens it is averaged from."""
        context = self.context
        if block.context_norm is not None:
            context = Context(self.norm(context.rows, block.context_norm))
        keys = None if block.key is None else self.context_projection(context, block.key, f"{name}.key")
        values = None if block.value is None else self.context_projection(context, block.value, f"{name}.value")
        if block.is_inverted:
            assert keys is not None and values is not None, "no rule absorbs them"
            attended = inverted_attention.attend(query, keys, values, scale=block.scale, mask=self.mask)
        elif block.has_maximum:
            attended = float_attention.attend(
                query, context, keys, values,
                tokens=self.extent.tokens, chunks=block.chunks, scale=block.scale, mask=self.mask,
            )  # fmt: skip
        elif block.is_by_line:
            attended = line_attention.attend(
                query, self.shared.lines, num_lines=self.shared.num_lines,
                chunks=block.chunks, scale=block.scale, mask=self.mask, ceiling=block.ceiling,
            )  # fmt: skip
        elif keys is values is None and (narrow := context.narrow) is not None:
            attended = padded_attention.attend(
                query, narrow, most_tokens=self.extent.tokens // block.chunks, scale=block.scale, mask=self.mask,
                ceiling=block.ceiling,
            )  # fmt: skip
        elif is_by_token(block, self.extent):
            attended = exponential_attention.attend_by_token(
                query, context, chunks=block.chunks, scale=block.scale, mask=self.mask, ceiling=block.ceiling
            )
        else:
            attended = exponential_attention.attend(
                query, context, keys, values, tokens=self.extent.tokens, chunks=block.chunks, scale=block.scale,
                mask=self.mask, last_is_one=exponential_attention.wants_a_one(block), ceiling=block.ceiling,
            )  # fmt: skip
        if self.core_tap is not None and name in self.cores:
            self.core_tap(name, self.shared.core_operands(query, block, attended))
        # Rows of a softmax sum to 1, so what is attended to never leaves the range of the tokens.
        return attended, lambda: context.rows if values is None else values

    def integer_core(self, query: tf.Tensor, block: CrossAttention, core: IntegerCore, name: str) -> tf.Tensor:
        """As `float_core`, in the form of `lowering.integer_core`."""
        groups, rows = core.bound.shape
        keys = self.shared.chunks(block.key, core, ones=core.key_ones, name=f"{name}.centred_key")
        values = self.shared.chunks(block.value, core, ones=core.value_ones, name=f"{name}.centred_value")
        query = tf.reshape(query, [self.batch, groups, rows, query.shape[-1]])
        shift = self.tensor(integer_attention.shift_column(core))
        if self.arithmetic is None:
            attended = integer_attention.attend(query, keys, values, core, shift)
        else:
            attended = self.arithmetic.attend(query, keys, values, core, shift, name=name)
        attended = attended + self.shared.mean_value(core, f"{name}.mean_value")
        return tf.reshape(attended, [self.batch, block.heads, -1, attended.shape[-1]])

    def self_attention(self, rows: tf.Tensor, block: SelfAttention, name: str) -> tf.Tensor:
        normed = self.norm(rows, block.norm)
        if len(block.projections) == 1:
            product = "centred_qkv" if block.is_centred else "qkv"
            qkv = _divided(self.linear(normed, block.projections[0], f"{name}.{product}"), block.widths)
        else:
            names = ("query", "key", "value")
            qkv = [self.linear(normed, p, f"{name}.{n}") for n, p in zip(names, block.projections, strict=True)]
        query, key, value = (split_heads(t, block.heads, self.batch) for t in qkv)

        def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
            scores = scaled(tf.matmul(query, key, transpose_b=True), block.scale)
            return tf.matmul(tf.nn.softmax(scores), value)

        if block.has_row_core:
            shift = None if block.shift is None else self.tensor(block.shift)
            attended = (
                row_attention.attend(query, key, value, shift)
                if self.arithmetic is None
                else self.arithmetic.attend_rows(query, key, value, shift, name=name)
            )
        elif block.parts == 1:
            attended = attend(query, key, value)
        else:
            divided = (self.head_parts(t, block.parts) for t in (query, key, value))
            attended = self.joined([attend(*part) for part in zip(*divided, strict=True)])
        if self.row_tap is not None:
            self.row_tap(name, RowOperands(query, key, value, attended))
        return self.linear(self.merged_heads(attended), block.output, f"{name}.output")

    def head_parts(self, x: tf.Tensor, parts: int) -> list[tf.Tensor]:
        """``[B, h, N, d]`` → so many ``[B, h / parts, N, d]``. Slices: XNNPACK splits into four at most."""
        batch, heads, rows, channels = x.shape
        size = heads // parts
        return [tf.slice(x, [0, start, 0, 0], [batch, size, rows, channels]) for start in range(0, heads, size)]

    def joined(self, parts: list[tf.Tensor]) -> tf.Tensor:
        """Along the heads; few at a time, because XNNPACK concatenates five at most."""
        while len(parts) > 1:
            fours = [parts[start : start + 4] for start in range(0, len(parts), 4)]
            parts = [four[0] if len(four) == 1 else tf.concat(four, axis=1) for four in fours]
        return parts[0]

    def context_projection(self, context: Context, linear: Linear, name: str) -> tf.Tensor:
        """Keys or values of the context ``[B * T, h * d]``; made once for all layers that share weights and context."""
        if isinstance(context, TabulatedContext):
            return context.projected(linear)
        if self.stack.context_norm is not None:
            return self.shared.projection(context.rows, linear, name)
        return self.linear(tf.reshape(context.rows, [-1, context.rows.shape[-1]]), linear, name)

    def merged_heads(self, x: tf.Tensor) -> tf.Tensor:
        """``[B, h, N, d]`` → ``[B * N, h * d]``."""
        _, heads, rows, channels = x.shape
        return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [self.batch * rows, heads * channels])

    def norm(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        return layer_norm(x, norm, tensor=self.tensor)


def _divided(x: tf.Tensor, widths: Sequence[int]) -> list[tf.Tensor]:
    """The channels of ``[n, sum(widths)]``. Equal parts are one operator; XNNPACK has none for others but slices."""
    if len(set(widths)) == 1:
        return tf.split(x, len(widths), axis=-1)
    starts = np.cumsum([0, *widths[:-1]])
    return [tf.slice(x, [0, int(start)], [x.shape[0], width]) for start, width in zip(starts, widths, strict=True)]
