"""A Perceiver as a value: the form that the lowering rules rewrite and that `execute` runs.

A `Program` holds plain numpy arrays (float64, so that rewriting loses nothing) and no framework. Layers that share
their weights are one and the same `Layer` object, listed several times; rules keep that identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """``x @ weight + bias``; weight ``[in, out]``, bias ``[out]``."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer normalisation. Without ``gamma`` and ``beta`` (both ``[channels]``) it is only (x - mean) / sigma."""

    gamma: Array | None = None
    beta: Array | None = None


@dataclass(frozen=True, eq=False)
class ContextScale:
    """The context is only divided by σ, and σ is computed from the data's channels: see `fold_centring`.

    ``position_mean`` and ``position_variance`` ``[tokens, 1]``: over the position channels of every token.
    """

    position_mean: Array
    position_variance: Array


Exponential = Literal["elu", "sigmoid"]
"""The function that an engine has in int8 to compute exp with: see `integer_core`."""


@dataclass(frozen=True, eq=False)
class IntegerCore:
    """How a cross-attend's scores, exponentials and weighted sums are written for int8: see `integer_core`.

    ``bound`` ``[groups, rows]``: what each row's scores are lowered by; no score of the row is larger. ``key_ones``,
    ``value_ones``: the values of the channels of ones in keys and values; projections of the context append them.
    ``mean_value``: the value projection of the tokens' mean, None where values are absorbed.
    """

    bound: Array
    key_ones: float
    value_ones: float
    exponential: Exponential
    mean_value: Linear | None


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """Latents attend to the context.

    ``query`` is a Linear on the normalised latents, or an array ``[latents, heads * channels]`` once it is constant.
    ``context_norm`` is None where the program's shared, already normalised context is read.
    ``key`` is None where the query is scored against the context itself, ``value`` is None where the context itself
    is aggregated. ``scale`` multiplies the scores. ``chunks``: the tokens are attended to in so many. ``core`` is None
    where softmax is computed in float.
    """

    norm: Norm
    context_norm: Norm | None
    query: Linear | Array
    key: Linear | None
    value: Linear | None
    output: Linear
    heads: int
    scale: float
    chunks: int = 1
    core: IntegerCore | None = None


@dataclass(frozen=True, eq=False)
class SelfAttention:
    """Latents attend to latents. ``projections`` are (query, key, value), or one Linear that computes all three."""

    norm: Norm
    projections: tuple[Linear, ...]
    output: Linear
    heads: int
    scale: float


@dataclass(frozen=True, eq=False)
class FeedForward:
    """GEGLU: ``up`` gives values and gates side by side, ``down`` projects values * gelu(gates)."""

    norm: Norm
    up: Linear
    down: Linear


Block = CrossAttention | SelfAttention | FeedForward


@dataclass(frozen=True, eq=False)
class Layer:
    """Blocks with their names, each added to its input as a residual."""

    blocks: tuple[tuple[str, Block], ...]


@dataclass(frozen=True, eq=False)
class Head:
    """Mean over latents, normalise, classify."""

    norm: Norm
    classifier: Linear


@dataclass(frozen=True, eq=False)
class Program:
    """A whole Perceiver for one input shape.

    ``input_shape`` are the sizes of the input axes and the data channels, without the batch. ``encoding``
    ``[tokens, encoding channels]`` is appended to the data's channels. ``context_norm`` is set once the
    normalised context is shared. ``head`` is None for a model that returns its latents. ``chunks``: integer cores take
    the tokens in so many, and every array of tokens has them in that order (`chunk_keys.token_order`).
    """

    input_shape: tuple[int, ...]
    encoding: Array | None
    latents: Array
    context_norm: Norm | ContextScale | None
    layers: tuple[Layer, ...]
    head: Head | None
    chunks: int = 1

    @property
    def tokens(self) -> int:
        return int(np.prod(self.input_shape[:-1]))

    @property
    def context_channels(self) -> int:
        return self.input_shape[-1] + (0 if self.encoding is None else self.encoding.shape[1])

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Every block in order of execution, as ``layers.<i>.<block>``."""
        for index, layer in enumerate(self.layers):
            for name, block in layer.blocks:
                yield f"layers.{index}.{name}", block

    def cross_attentions(self) -> list[CrossAttention]:
        """Every cross-attend in order of execution; a shared one appears as often as it runs."""
        return [block for _, block in self.named_blocks() if isinstance(block, CrossAttention)]


def map_blocks(program: Program, rewrite: Callable[[Block], Block]) -> Program:
    """Rewrite every block, each shared layer once, so that what was shared stays shared."""
    done: dict[int, Layer] = {}
    for layer in program.layers:
        if id(layer) not in done:
            done[id(layer)] = Layer(tuple((name, rewrite(block)) for name, block in layer.blocks))
    return replace(program, layers=tuple(done[id(layer)] for layer in program.layers))


def single_precision(program: Program) -> Program:
    """The same program with float32 arrays, in half the memory; what was shared stays shared."""
    done: dict[int, Any] = {}

    def convert(value: Any) -> Any:
        if id(value) not in done:
            if isinstance(value, np.ndarray):
                done[id(value)] = value.astype(np.float32)
            elif isinstance(value, tuple):
                done[id(value)] = tuple(convert(item) for item in value)
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                fields = {field.name: convert(getattr(value, field.name)) for field in dataclasses.fields(value)}
                done[id(value)] = type(value)(**fields)
            else:
                return value
        return done[id(value)]

    converted: Program = convert(program)
    return converted


def scaled(linear: Linear, factor: float | Array) -> Linear:
    """``factor * linear(x)`` as a Linear; the factor is a number, or one ``[out]`` for each output."""
    return Linear(linear.weight * factor, None if linear.bias is None else linear.bias * factor)


def split_heads(weight: Array, heads: int) -> Array:
    """``[in, heads * d]`` → ``[heads, in, d]``."""
    return weight.reshape(weight.shape[0], heads, -1).transpose(1, 0, 2)
