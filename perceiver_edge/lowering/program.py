"""A Perceiver as a value: the form that the lowering rules rewrite and that `execute` runs.

A `Program` holds plain numpy arrays (float64, so that rewriting loses nothing) and no framework. Layers that share
their weights are one and the same `Layer` object, listed several times; rules keep that identity.

Perceiver and Perceiver IO are the same few values. A `Source` makes tokens of an input. A `Stack` is rows that pass
through layers and attend to a context: the encoder's rows are the latents and its context the tokens, the decoder's
rows are the output queries and its context the latents. An `Output` reads the rows of the last stack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from perceiver_edge.lowering.source import Array, Learned, Linear, Source


@dataclass(frozen=True, eq=False)
class Norm:
    """Layer normalisation. Without ``gamma`` and ``beta`` (both ``[channels]``) it is only (x - mean) / sigma."""

    gamma: Array | None = None
    beta: Array | None = None


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and mean square over the position channels of every token of a source.

    As sums over the axes of a grid, ``[size, 1]`` for each, or one ``[tokens, 1]``.
    """

    mean: tuple[Array, ...]
    square: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class ContextScale:
    """The context is only divided by σ, and σ is computed from the data's channels: see `fold_centring`.

    ``moments``: one for each source; None for one of learned tokens, whose σ is a constant.
    """

    moments: tuple[Moments | None, ...]


@dataclass(frozen=True, eq=False)
class TokenTables:
    """The context is the sum of a symbol's row and a place's, over a σ that both decide: see `tabulate_tokens`.

    ``symbols`` ``[symbols, C]`` and ``places`` ``[T, C]``, both without their means over channels; ``inverse_sigma``
    ``[T, symbols]``.
    """

    symbols: Array
    places: Array
    inverse_sigma: Array


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


Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]
"""``gelu`` is the exact one, ``gelu_tanh`` its approximation by a hyperbolic tangent."""


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """The rows of a stack attend to its context.

    ``query`` is a Linear on the normalised rows, an array ``[rows, heads * channels]`` once it is constant, or None
    where these rows, with a one after their channels, are scored against the keys themselves.
    ``norm`` and ``context_norm`` are None where a shared, already normalised context is read: as rows (`share_rows`),
    or as what they attend to. ``key`` is None where the query is scored against the context itself, ``value`` is None
    where the context itself is aggregated, ``output`` is None where the values are what comes out. ``scale`` multiplies
    the scores. ``chunks``: the context is attended to in so many. ``core`` is None where softmax is computed in float.
    ``has_maximum``: softmax is computed with its maximum (`drop_maximum`). ``ceiling``: without it, a row's scores are
    lowered by what they could exceed this by; None where they cannot. ``is_by_line``: the tokens of a grid are
    read line by line, and the chunks are of lines (`take_lines`). ``is_residual``: what is attended to is added to the
    rows, or replaces them. ``is_inverted``: softmax is over the rows (`inverted_attention`).
    """

    norm: Norm | None
    context_norm: Norm | None
    query: Linear | Array | None
    key: Linear | None
    value: Linear | None
    output: Linear | None
    heads: int
    scale: float
    chunks: int = 1
    core: IntegerCore | None = None
    has_maximum: bool = True
    ceiling: float | None = None
    is_by_line: bool = False
    is_residual: bool = True
    is_inverted: bool = False


@dataclass(frozen=True, eq=False)
class SelfAttention:
    """Rows attend to each other. ``projections`` are (query, key, value), or one Linear that computes all three.

    ``parts``: the heads are computed in so many, one after the other (`chunk_heads`). ``is_centred``: its weights are
    those of `row_core`, which other uses of them may need; ``has_row_core``: it has this form itself, with ``shift``
    ``[1, heads, 1, channels]`` taken from values and given back, if it has one.
    """

    norm: Norm
    projections: tuple[Linear, ...]
    output: Linear
    heads: int
    scale: float
    parts: int = 1
    is_centred: bool = False
    has_row_core: bool = False
    shift: Array | None = None
    is_residual = True

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of query, key and value, all heads together."""
        value = self.output.weight.shape[0]
        key = (sum(linear.weight.shape[1] for linear in self.projections) - value) // 2
        return key, key, value


@dataclass(frozen=True, eq=False)
class FeedForward:
    """``down(activation(up(x)))``; if ``is_gated``, ``up`` gives values and gates, and down reads values * gelu(gates)

    (GEGLU, Shazeer 2020, arXiv:2002.05202).
    """

    norm: Norm
    up: Linear
    down: Linear
    is_gated: bool = True
    activation: Activation = "gelu"
    is_residual = True


@dataclass(frozen=True, eq=False)
class AttentionResidual:
    """The last block of a layer: rows become a pool of what this layer and those before it gave.

    See `attention_residual`. ``down`` and ``up`` make the logits of the weights.
    """

    down: Linear
    up: Linear
    is_residual = False


Block = CrossAttention | SelfAttention | FeedForward | AttentionResidual


@dataclass(frozen=True, eq=False)
class Layer:
    """Blocks with their names, each run on what the one before it gave."""

    blocks: tuple[tuple[str, Block], ...]

    @property
    def pools(self) -> bool:
        """Whether its last block reads what went into the layers."""
        return isinstance(self.blocks[-1][1], AttentionResidual)


Rows = Array | Source | None
"""What a stack asks with: learned rows, those of an input, or the tokens (None)."""


@dataclass(frozen=True, eq=False)
class Stack:
    """Rows that pass through layers, whose cross-attends all read one context.

    ``name``: the prefix of its layers' names. ``rows``: ``[rows, channels]``, or where they come from; tokens are the
    encoder's context where the first block has no norm (`share_rows`).
    ``context_norm`` is set once the normalised context is shared. ``chunks``: integer cores take the context in so
    many, and every array of its rows has them in that order (`chunk_keys.token_order`). ``row_chunks``: the rows pass
    through all layers in so many parts (`chunk_rows`). ``pooled_rows``: what a pool of the first layer reads of the
    rows, where `fold_first_query` has changed them.
    """

    name: str
    rows: Rows
    context_norm: Norm | ContextScale | TokenTables | None
    layers: tuple[Layer, ...]
    chunks: int = 1
    row_chunks: int = 1
    pooled_rows: Array | None = None

    @property
    def first_asks_with_context(self) -> bool:
        """Whether the rows are the encoder's context, which is normalised already."""
        _, first = self.layers[0].blocks[0]
        return isinstance(first, CrossAttention) and first.norm is None

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Every block in order of execution, as ``<name>.<i>.<block>``."""
        for index, layer in enumerate(self.layers):
            for name, block in layer.blocks:
                yield f"{self.name}.{index}.{name}", block

    def cross_attentions(self) -> list[CrossAttention]:
        """Every cross-attend in order of execution; a shared one appears as often as it runs."""
        return [block for _, block in self.named_blocks() if isinstance(block, CrossAttention)]


@dataclass(frozen=True)
class Extent:
    """Of a stack: ``rows`` of ``width`` channels ask ``tokens`` of ``channels`` channels.

    ``lines``: of the tokens' grid, each as long as the others: the tokens had better be divided between them.
    """

    rows: int
    width: int
    tokens: int
    channels: int
    lines: int = 1


@dataclass(frozen=True, eq=False)
class Output:
    """What is made of the last stack's rows: their mean (``is_mean``), normalised, projected; each is optional.

    ``shape``: of the result, without the batch. ``branch``: reads the rows beside the projection, and is added to what
    that gives (`fold_last_down`).
    """

    is_mean: bool
    norm: Norm | None
    projection: Linear | None
    shape: tuple[int, ...]
    branch: FeedForward | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """A whole Perceiver for one input shape.

    ``sources`` make the tokens, one after the other. The context of the first stack is the tokens, that of any other
    the rows of the one before it. ``with_mask``: an input says which tokens are there.
    """

    sources: tuple[Source | Learned, ...]
    stacks: tuple[Stack, ...]
    output: Output
    with_mask: bool = False

    def is_masked(self, stack: Stack) -> bool:
        """Whether the stack attends to tokens of which some may not be there."""
        return self.with_mask and stack is self.encoder

    @property
    def encoder(self) -> Stack:
        return self.stacks[0]

    @property
    def inputs(self) -> tuple[Source, ...]:
        """The sources that are inputs, in the order of their tokens."""
        return tuple(source for source in self.sources if isinstance(source, Source))

    @property
    def tokens(self) -> int:
        return sum(source.tokens for source in self.sources)

    @property
    def rows_are_tokens(self) -> bool:
        """Whether a stack's rows are the tokens as they are, not normalised."""
        return any(stack.rows is None and not stack.first_asks_with_context for stack in self.stacks)

    @property
    def context_channels(self) -> int:
        """Of a token."""
        return self.sources[0].channels

    def extents(self) -> list[Extent]:
        """One for each stack."""
        tokens = asked = self.tokens, self.context_channels
        found = []
        for stack in self.stacks:
            rows = stack.rows
            if isinstance(rows, Source):
                count, width = rows.tokens, rows.channels
            else:
                count, width = tokens if rows is None else rows.shape
            found.append(Extent(count, width, *asked, self.lines if stack is self.encoder else 1))
            asked = count, width
        return found

    @property
    def lines(self) -> int:
        """Of the grid of tokens, if the context is made line by line: then one cross-attend alone reads it."""
        (source, *others) = self.sources
        if others or not isinstance(source, Source) or len(self.encoder.cross_attentions()) > 1:
            return 1
        return source.data_shape[0] if len(source.data_shape) > 2 else 1

    def repeated_layers(self) -> dict[str, str]:
        """The name of every layer that is one of before (``layers.7``) → that one's (``layers.1``)."""
        first: dict[int, str] = {}
        repeated: dict[str, str] = {}
        for stack in self.stacks:
            for index, layer in enumerate(stack.layers):
                name = f"{stack.name}.{index}"
                if first.setdefault(id(layer), name) != name:
                    repeated[name] = first[id(layer)]
        return repeated

    def named_blocks(self) -> Iterator[tuple[str, Block]]:
        """Every block of every stack in order of execution."""
        for stack in self.stacks:
            yield from stack.named_blocks()

    def cross_attentions(self) -> list[CrossAttention]:
        """See `Stack.cross_attentions`."""
        return [block for stack in self.stacks for block in stack.cross_attentions()]


def with_stacks(program: Program, rewrite: Callable[[Stack, Extent], Stack]) -> Program:
    """The program with every stack rewritten."""
    stacks = tuple(rewrite(*pair) for pair in zip(program.stacks, program.extents(), strict=True))
    return replace(program, stacks=stacks)


def map_blocks(program: Program, rewrite: Callable[[Block], Block]) -> Program:
    """Rewrite every block, each shared layer once, so that what was shared stays shared."""
    return with_stacks(program, lambda stack, _: map_stack(stack, rewrite))


def map_stack(stack: Stack, rewrite: Callable[[Block], Block]) -> Stack:
    """As `map_blocks`, the blocks of one stack."""
    done: dict[int, Layer] = {}
    for layer in stack.layers:
        if id(layer) not in done:
            done[id(layer)] = Layer(tuple((name, rewrite(block)) for name, block in layer.blocks))
    return replace(stack, layers=tuple(done[id(layer)] for layer in stack.layers))


def map_context_products(program: Program, change: Callable[[Linear], Linear]) -> Program:
    """The program with every product changed that reads the encoder's context; none may be absorbed.

    Layers may share a product without being the same: it is changed once, and stays shared.
    """
    made: dict[int, Linear] = {}

    def changed(linear: Linear | Array | None) -> Linear:
        assert isinstance(linear, Linear)
        if id(linear) not in made:
            made[id(linear)] = change(linear)
        return made[id(linear)]

    def of_encoder(block: Block) -> Block:
        if not isinstance(block, CrossAttention):
            return block
        return replace(block, key=changed(block.key), value=changed(block.value))

    def of_rows(block: Block) -> Block:
        if not isinstance(block, CrossAttention) or block.norm is not None:
            return block
        return replace(block, query=changed(block.query))

    encoder, *others = program.stacks
    asked = (map_stack(stack, of_rows) if stack.first_asks_with_context else stack for stack in others)
    return replace(program, stacks=(map_stack(encoder, of_encoder), *asked))


def map_arrays(program: Program, function: Callable[[Array], Array]) -> Program:
    """The program with what the function makes of each of its arrays; what was shared stays shared."""
    done: dict[int, Any] = {}

    def convert(value: Any) -> Any:
        if id(value) not in done:
            if isinstance(value, np.ndarray):
                done[id(value)] = function(value)
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


def bias_after(bias: Array, linear: Linear) -> Array:
    """The bias of ``linear`` once the bias of what it reads has gone through it: ``(x + bias) W + b``."""
    return bias @ linear.weight + (0.0 if linear.bias is None else linear.bias)


def split_heads(weight: Array, heads: int) -> Array:
    """``[in, heads * d]`` → ``[heads, in, d]``."""
    return weight.reshape(weight.shape[0], heads, -1).transpose(1, 0, 2)
