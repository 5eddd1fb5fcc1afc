"""Run a `Program` with TensorFlow: the module that is traced and converted, and that calibration observes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering import float_attention, integer_attention
from perceiver_edge.lowering.context import layer_norm, normalised_context
from perceiver_edge.lowering.float_attention import scaled, split_heads
from perceiver_edge.lowering.integer_core import can_be_integer
from perceiver_edge.lowering.program import (
    Block,
    CrossAttention,
    FeedForward,
    IntegerCore,
    Linear,
    Norm,
    Program,
    SelfAttention,
)
from perceiver_edge.lowering.shared_context import CoreOperands, SharedContext

Tap = Callable[[str, tf.Tensor], None]
"""Called with the name of a GEMM's input (``….input``), output (``….output``) or hull (``….hull``) and its value."""


CoreTap = Callable[[str, CoreOperands], None]
"""Called with the name of a cross-attend and what its int8 form would compute with."""


class LoweredPerceiver(tf.Module):
    """A `Program` as a callable ``tf.Module``.

    Every projection runs on a matrix ``[batch * latents, channels]`` (or ``[batch * tokens, channels]``), so that it
    is one FULLY_CONNECTED in TFLite and one Gemm in ONNX, bias included.
    """

    def __init__(self, program: Program, *, dtype: tf.DType = tf.float32) -> None:
        super().__init__(name="perceiver")
        self.program = program
        self.dtype = dtype
        # Weights are eager tensors: a trace captures them by reference, which is fast; literals in the graph are not.
        self._tensors: dict[int, tf.Tensor] = {}
        self._alive: list[np.ndarray] = []

    def __call__(
        self,
        data: tf.Tensor,
        mask: tf.Tensor | None = None,
        *,
        tap: Tap | None = None,
        core_tap: CoreTap | None = None,
    ) -> tf.Tensor:
        """Compute the logits.

        Args:
            data: ``[batch, *axes, channels]`` of the module's dtype; all sizes static.
            mask: ``[batch, *axes]`` boolean, True where the context may be attended to.
            tap: sees the input and the output of every projection, and of a cross-attend's output projection also the
                ``….hull``: the tokens whose average its input is.
            core_tap: sees what the core of every cross-attend that has an int8 form computes with.

        Returns:
            ``[batch, num_classes]``, or ``[batch, latents, channels]`` for a program without a head.
        """
        return _Run(self, data, mask, tap, core_tap).output()

    def of(self, program: Program) -> LoweredPerceiver:
        """Another program, with the tensors of this one where the arrays are the same."""
        other = LoweredPerceiver(program, dtype=self.dtype)
        other._tensors, other._alive = self._tensors, self._alive
        return other

    def tensor(self, array: np.ndarray) -> tf.Tensor:
        """The array in the module's dtype; the same array is always the same tensor, so tied weights stay tied."""
        if id(array) not in self._tensors:
            with tf.init_scope():  # an eager tensor, also when the first call is a trace
                self._tensors[id(array)] = tf.constant(array, self.dtype)
            self._alive.append(array)
        return self._tensors[id(array)]


class _Run:
    """One forward pass. B batch, T tokens, C context channels, N latents, D latent channels, h heads, d per head."""

    def __init__(
        self,
        module: LoweredPerceiver,
        data: tf.Tensor,
        mask: tf.Tensor | None,
        tap: Tap | None,
        core_tap: CoreTap | None,
    ) -> None:
        self.module, self.program, self.tap, self.core_tap = module, module.program, tap, core_tap
        self.batch = data.shape[0]
        assert mask is None or self.program.chunks == 1, (
            "a mask is not in the order of chunks, and integer cores have none"
        )
        self.mask = None if mask is None else tf.reshape(mask, [self.batch, 1, 1, self.program.tokens])
        self.context = normalised_context(data, self.program, tensor=module.tensor)
        self.shared = SharedContext(
            self.context, chunks=self.program.chunks, linear=self.linear, tensor=module.tensor
        )  # fmt: skip

    def output(self) -> tf.Tensor:
        N, D = self.program.latents.shape
        latents = tf.tile(self.module.tensor(self.program.latents), [self.batch, 1])  # [B * N, D]
        for name, block in self.program.named_blocks():
            with tf.name_scope(name):
                latents = latents + self.block(latents, block, name)
        latents = tf.reshape(latents, [self.batch, N, D])
        head = self.program.head
        if head is None:
            return latents
        pooled = self.norm(tf.reduce_mean(latents, axis=1), head.norm)
        return self.linear(pooled, head.classifier, "classifier")

    def block(self, latents: tf.Tensor, block: Block, name: str) -> tf.Tensor:
        match block:
            case CrossAttention():
                return self.cross_attention(latents, block, name)
            case SelfAttention():
                return self.self_attention(latents, block, name)
            case FeedForward():
                hidden = self.linear(self.norm(latents, block.norm), block.up, f"{name}.up")
                values, gates = tf.split(hidden, 2, axis=-1)
                return self.linear(values * gelu(gates), block.down, f"{name}.down")

    def cross_attention(self, latents: tf.Tensor, block: CrossAttention, name: str) -> tf.Tensor:
        if isinstance(block.query, Linear):
            query = self.linear(self.norm(latents, block.norm), block.query, f"{name}.query")
        else:
            query = tf.tile(self.module.tensor(block.query), [self.batch, 1])
        query = split_heads(query, block.heads, self.batch)
        if block.core is not None:
            attended = self.integer_core(query, block, block.core, name)
            return self.linear(self.merged_heads(attended), block.output, f"{name}.output")
        attended, hull = self.float_core(query, block, name)
        return self.linear(self.merged_heads(attended), block.output, f"{name}.output", hull=hull)

    def float_core(self, query: tf.Tensor, block: CrossAttention, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Queries ``[B, h, N, d]`` → what they attend to ``[B, h, N, e]``, and the tokens it is averaged from."""
        context = self.context if block.context_norm is None else self.norm(self.context, block.context_norm)
        keys = None if block.key is None else self.context_projection(context, block.key, f"{name}.key")
        values = None if block.value is None else self.context_projection(context, block.value, f"{name}.value")
        attended = float_attention.attend(
            query, context, keys, values, chunks=block.chunks, scale=block.scale, mask=self.mask
        )
        if self.core_tap is not None and self.mask is None and can_be_integer(self.program, block):
            self.core_tap(name, self.shared.core_operands(query, block, attended))
        # Rows of a softmax sum to 1, so what is attended to never leaves the range of the tokens.
        return attended, context if values is None else values

    def integer_core(self, query: tf.Tensor, block: CrossAttention, core: IntegerCore, name: str) -> tf.Tensor:
        """As `float_core`, in the form of `lowering.integer_core`."""
        groups, rows = core.bound.shape
        keys = self.shared.chunks(block.key, core, ones=core.key_ones, name=f"{name}.centred_key")
        values = self.shared.chunks(block.value, core, ones=core.value_ones, name=f"{name}.centred_value")
        query = tf.reshape(query, [self.batch, groups, rows, query.shape[-1]])
        shift = self.module.tensor(integer_attention.shift_column(core))
        attended = integer_attention.attend(query, keys, values, core, shift)
        attended = attended + self.shared.mean_value(core, f"{name}.mean_value")
        return tf.reshape(attended, [self.batch, block.heads, -1, attended.shape[-1]])

    def self_attention(self, latents: tf.Tensor, block: SelfAttention, name: str) -> tf.Tensor:
        normed = self.norm(latents, block.norm)
        if len(block.projections) == 1:
            qkv = tf.split(self.linear(normed, block.projections[0], f"{name}.qkv"), 3, axis=-1)
        else:
            names = ("query", "key", "value")
            qkv = [self.linear(normed, p, f"{name}.{n}") for n, p in zip(names, block.projections, strict=True)]
        query, key, value = (split_heads(t, block.heads, self.batch) for t in qkv)
        weights = tf.nn.softmax(scaled(tf.matmul(query, key, transpose_b=True), block.scale))
        return self.linear(self.merged_heads(tf.matmul(weights, value)), block.output, f"{name}.output")

    def context_projection(self, context: tf.Tensor, linear: Linear, name: str) -> tf.Tensor:
        """Keys or values of all tokens ``[B * T, h * d]``; made once for all layers that share weights and context."""
        if self.program.context_norm is not None:
            return self.shared.projection(context, linear, name)
        return self.linear(tf.reshape(context, [-1, context.shape[-1]]), linear, name)

    def merged_heads(self, x: tf.Tensor) -> tf.Tensor:
        """``[B, h, N, d]`` → ``[B * N, h * d]``."""
        _, heads, latents, channels = x.shape
        return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [self.batch * latents, heads * channels])

    def norm(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        return layer_norm(x, norm, tensor=self.module.tensor)

    def linear(self, x: tf.Tensor, linear: Linear, name: str, *, hull: tf.Tensor | None = None) -> tf.Tensor:
        """``hull``, for the tap alone: a tensor whose values enclose all that x can ever take."""
        with tf.name_scope(name):
            y = tf.matmul(x, self.module.tensor(linear.weight))
            if linear.bias is not None:
                y = tf.nn.bias_add(y, self.module.tensor(linear.bias))
        if self.tap is not None:
            self.tap(f"{name}.input", x)
            if hull is not None:
                self.tap(f"{name}.hull", hull)
            self.tap(f"{name}.output", y)
        return y


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), written so that both converters recognise it."""
    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))
