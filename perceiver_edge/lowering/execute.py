"""Run a `Program` with TensorFlow: the module that is traced and converted, and that calibration observes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering import integer_attention
from perceiver_edge.lowering.integer_attention import Chunks
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

Tap = Callable[[str, tf.Tensor], None]
"""Called with the name of a GEMM's input (``….input``), output (``….output``) or hull (``….hull``) and its value."""


@dataclass(frozen=True)
class CoreOperands:
    """``query`` ``[B, g, R, d]``; the centred ``context`` ``[B, T, C]`` and its mean ``[B, 1, C]``; centred ``keys``
    ``[B, g, T, d]`` and ``values`` ``[B, g, T, e]``; the exact ``average`` of the values ``[B, g, R, e]``, and the
    ``mean_value`` ``[B, g, 1, e]`` that they were centred by."""

    query: tf.Tensor
    context: tf.Tensor
    context_mean: tf.Tensor
    keys: tf.Tensor
    values: tf.Tensor
    average: tf.Tensor
    mean_value: tf.Tensor


CoreTap = Callable[[str, CoreOperands], None]


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
        self.mask = None if mask is None else tf.reshape(mask, [self.batch, 1, 1, self.program.tokens])
        self.context = self.encoded(data)
        if self.program.context_norm is not None:
            self.context = self.norm(self.context, self.program.context_norm)
        self.projected_context: dict[int, tf.Tensor] = {}
        self.centred_context: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}
        self.centred_projections: dict[tuple[int, int], tf.Tensor] = {}
        self.chunked: dict[tuple[int, float, int], Chunks] = {}

    def output(self) -> tf.Tensor:
        N, D = self.program.latents.shape
        latents = tf.tile(self.module.tensor(self.program.latents), [self.batch, 1])  # [B * N, D]
        for index, layer in enumerate(self.program.layers):
            for name, block in layer.blocks:
                with tf.name_scope(f"layers.{index}.{name}"):
                    latents = latents + self.block(latents, block, f"layers.{index}.{name}")
        latents = tf.reshape(latents, [self.batch, N, D])
        head = self.program.head
        if head is None:
            return latents
        pooled = self.norm(tf.reduce_mean(latents, axis=1), head.norm)
        return self.linear(pooled, head.classifier, "classifier")

    def encoded(self, data: tf.Tensor) -> tf.Tensor:
        """``[B, *axes, channels]`` → the context ``[B, T, C]``."""
        data = tf.reshape(data, [self.batch, self.program.tokens, self.program.input_shape[-1]])
        if self.program.encoding is None:
            return data
        encoding = self.module.tensor(self.program.encoding)[None]
        return tf.concat([data, tf.tile(encoding, [self.batch, 1, 1])], axis=-1)

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
        query = self.heads(query, block.heads)
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
        scores = self.per_head_product(query, context, keys, block.heads, transpose=True)
        weights = tf.nn.softmax(self.masked(scaled(scores, block.scale)))
        attended = self.per_head_product(weights, context, values, block.heads, transpose=False)
        if self.core_tap is not None and can_be_integer(block):
            self.core_tap(name, self.core_operands(query, block, attended))
        # Rows of a softmax sum to 1, so what is attended to never leaves the range of the tokens.
        return attended, context if values is None else values

    def integer_core(self, query: tf.Tensor, block: CrossAttention, core: IntegerCore, name: str) -> tf.Tensor:
        """As `float_core`, in the form of `lowering.integer_core`."""
        context, mean = self.centred(core.chunks)
        groups, rows = core.bound.shape
        keys = self.chunks(context, block.key, core, core.key_ones, f"{name}.centred_key")
        values = self.chunks(context, block.value, core, core.value_ones, f"{name}.centred_value")
        query = tf.reshape(query, [self.batch, groups, rows, query.shape[-1]])
        shift = self.module.tensor(integer_attention.shift_column(core))
        attended = integer_attention.attend(query, keys, values, core, shift)
        if core.mean_value is not None:
            mean = self.linear(tf.reshape(mean, [self.batch, -1]), core.mean_value, f"{name}.mean_value")
        attended = attended + tf.reshape(mean, [self.batch, groups, 1, -1])
        return tf.reshape(attended, [self.batch, block.heads, -1, attended.shape[-1]])

    def centred(self, chunks: int) -> tuple[tf.Tensor, tf.Tensor]:
        if chunks not in self.centred_context:
            self.centred_context[chunks] = integer_attention.centred(self.context, chunks)
        return self.centred_context[chunks]

    def chunks(self, context: tf.Tensor, linear: Linear | None, core: IntegerCore, ones: float, name: str) -> Chunks:
        """Keys or values with their channels of ones; made once for all layers that share them."""
        key = (id(linear), ones, core.chunks)
        if key not in self.chunked:
            if linear is None:
                tokens = integer_attention.append_ones(context, ones)
            else:
                projected = self.context_projection(context, linear, name)
                tokens = tf.reshape(projected, [self.batch, self.program.tokens, -1])
            groups = 1 if linear is None else core.bound.shape[0]
            self.chunked[key] = Chunks(tokens, groups, core.chunks)
        return self.chunked[key]

    def core_operands(self, query: tf.Tensor, block: CrossAttention, attended: tf.Tensor) -> CoreOperands:
        """What the int8 form of this cross-attend would compute with."""
        context, mean = self.centred(1)
        keys, values = (self.centred_projection(context, linear, block.heads) for linear in (block.key, block.value))
        groups = values.shape[1]
        query, attended = (tf.reshape(t, [self.batch, groups, -1, t.shape[-1]]) for t in (query, attended))
        mean_value = self.centred_projection(mean, block.value, block.heads)
        if block.value is not None and block.value.bias is not None:
            mean_value += tf.reshape(self.module.tensor(block.value.bias), [1, groups, 1, -1])
        return CoreOperands(query, context, mean, keys, values, attended - mean_value, mean_value)

    def centred_projection(self, tokens: tf.Tensor, linear: Linear | None, heads: int) -> tf.Tensor:
        """``[B, t, C]`` → keys or values without their bias ``[B, g, t, d]``; made once for layers that share them."""
        key = (id(linear), tokens.shape[1])
        if key not in self.centred_projections:
            if linear is None:
                self.centred_projections[key] = tokens[:, tf.newaxis]
            else:
                product = tf.matmul(tokens, self.module.tensor(linear.weight))
                product = tf.reshape(product, [*product.shape[:2], heads, -1])
                self.centred_projections[key] = tf.transpose(product, [0, 2, 1, 3])
        return self.centred_projections[key]

    def self_attention(self, latents: tf.Tensor, block: SelfAttention, name: str) -> tf.Tensor:
        normed = self.norm(latents, block.norm)
        if len(block.projections) == 1:
            qkv = tf.split(self.linear(normed, block.projections[0], f"{name}.qkv"), 3, axis=-1)
        else:
            names = ("query", "key", "value")
            qkv = [self.linear(normed, p, f"{name}.{n}") for n, p in zip(names, block.projections, strict=True)]
        query, key, value = (self.heads(t, block.heads) for t in qkv)
        weights = tf.nn.softmax(scaled(tf.matmul(query, key, transpose_b=True), block.scale))
        return self.linear(self.merged_heads(tf.matmul(weights, value)), block.output, f"{name}.output")

    def per_head_product(
        self, left: tf.Tensor, context: tf.Tensor, projected: tf.Tensor | None, heads: int, *, transpose: bool
    ) -> tf.Tensor:
        """Multiply ``left`` ``[B, h, N, …]`` with each head's keys or values, or with the context all heads share."""
        if projected is not None:
            return tf.matmul(left, self.heads(projected, heads), transpose_b=transpose)
        # All heads read the same context, so their rows stand in one matrix: one product instead of h.
        rows = tf.reshape(left, [self.batch, -1, left.shape[-1]])
        product = tf.matmul(rows, context, transpose_b=transpose)
        return tf.reshape(product, [self.batch, heads, -1, product.shape[-1]])

    def masked(self, scores: tf.Tensor) -> tf.Tensor:
        """Give masked tokens the lowest finite score, so that the softmax of a fully masked row is uniform."""
        return scores if self.mask is None else tf.where(self.mask, scores, scores.dtype.min)

    def context_projection(self, context: tf.Tensor, linear: Linear, name: str) -> tf.Tensor:
        """Keys or values of all tokens ``[B * T, h * d]``; made once for all layers that share weights and context."""
        if self.program.context_norm is None or id(linear) not in self.projected_context:
            tokens = tf.reshape(context, [self.batch * self.program.tokens, -1])
            self.projected_context[id(linear)] = self.linear(tokens, linear, name)
        return self.projected_context[id(linear)]

    def heads(self, x: tf.Tensor, heads: int) -> tf.Tensor:
        """``[B * n, h * d]`` → ``[B, h, n, d]``."""
        x = tf.reshape(x, [self.batch, x.shape[0] // self.batch, heads, x.shape[-1] // heads])
        return tf.transpose(x, [0, 2, 1, 3])

    def merged_heads(self, x: tf.Tensor) -> tf.Tensor:
        """``[B, h, N, d]`` → ``[B * N, h * d]``."""
        _, heads, latents, channels = x.shape
        return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [self.batch * latents, heads * channels])

    def norm(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axis=-1, keepdims=True)
        x_hat = (x - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
        if norm.gamma is None or norm.beta is None:
            return x_hat
        return x_hat * self.module.tensor(norm.gamma) + self.module.tensor(norm.beta)

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


def scaled(scores: tf.Tensor, scale: float) -> tf.Tensor:
    return scores if scale == 1.0 else scores * scale


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Exact GELU, x * Phi(x) (Hendrycks and Gimpel 2016), written so that both converters recognise it."""
    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))
