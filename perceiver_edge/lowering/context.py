"""What the rows of a stack attend to, with TensorFlow: whole, or made line by line of a grid.

B batch, T tokens, C context channels, d channels of the data, p of the positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import tensorflow as tf

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.program import ContextScale, Moments, Norm, Program
from perceiver_edge.lowering.source import Array, AxisPositions, Learned, Source
from perceiver_edge.lowering.tokens import ToTensor, layer_norm, tokens


class Context:
    """Tokens ``[B, T, C]``, normalised if that is shared; each form of them is made once."""

    def __init__(self, rows: tf.Tensor) -> None:
        self._given = rows

    @cached_property
    def rows(self) -> tf.Tensor:
        """``[B, T, C]``."""
        return self._given

    def columns(self, *, with_one: bool) -> tf.Tensor:
        """A row for each channel ``[B, C, T]``, and, ``with_one``, a last row of ones."""
        return self._columns_with_one if with_one else self._columns

    @cached_property
    def _columns(self) -> tf.Tensor:
        return tf.transpose(self.rows, [0, 2, 1])

    @cached_property
    def _columns_with_one(self) -> tf.Tensor:
        return tf.concat([self._columns, zeros_like(self._columns[:, :1]) + 1.0], axis=1)

    @cached_property
    def rows_with_one(self) -> tf.Tensor:
        """With a last channel of ones ``[B, T, C + 1]``; transposed, because so they are made faster."""
        return tf.transpose(self.columns(with_one=True), [0, 2, 1])

    @property
    def grid(self) -> ScaledTokens | None:
        """What the context is made of, where it is one grid's tokens over σ."""
        return None

    @property
    def narrow(self) -> list[Narrow] | None:
        """The sources, if one has padding."""
        return None

    def made_alone(self, start: int, size: int) -> ScaledTokens | None:
        """The same of some tokens, where these need not be cut from the whole."""
        return None

    def some_rows(self, start: int, size: int) -> tf.Tensor:
        """``[B, size, C]``."""
        rows = self.rows
        return tf.slice(rows, [0, start, 0], [rows.shape[0], size, rows.shape[2]])

    def some_columns(self, start: int, size: int, *, with_one: bool) -> tf.Tensor:
        """``[B, C, size]``, or one more."""
        columns = self.columns(with_one=with_one)
        return tf.slice(columns, [0, 0, start], [*columns.shape[:2], size])


class ScaledContext(Context):
    """Tokens that are only divided by σ (`fold_centring`). ``is_by_line``: parts are made for themselves, not cut from
    the whole, which then never exists: of a large grid that only one cross-attend reads."""

    def __init__(self, parts: Sequence[ScaledTokens | _Constant], *, is_by_line: bool) -> None:
        self._parts = parts
        grid = self.grid
        self._lines = cache(grid.lines) if is_by_line and grid is not None else None

    @cached_property
    def rows(self) -> tf.Tensor:
        return _joined([part.rows() for part in self._parts], axis=1)

    @cached_property
    def _columns(self) -> tf.Tensor:
        return _joined([part.columns(False) for part in self._parts], axis=2)

    @cached_property
    def _columns_with_one(self) -> tf.Tensor:
        return _joined([part.columns(True) for part in self._parts], axis=2)

    def some_rows(self, start: int, size: int) -> tf.Tensor:
        part = self.made_alone(start, size)
        return super().some_rows(start, size) if part is None else part.rows()

    def some_columns(self, start: int, size: int, *, with_one: bool) -> tf.Tensor:
        part = self.made_alone(start, size)
        return super().some_columns(start, size, with_one=with_one) if part is None else part.columns(with_one)

    @cached_property
    def narrow(self) -> list[Narrow] | None:
        if all(isinstance(part, _Constant) or part.padding is None for part in self._parts):
            return None
        return [part.narrow() for part in self._parts]

    @property
    def grid(self) -> ScaledTokens | None:
        (part, *others) = self._parts
        return part if isinstance(part, ScaledTokens) and len(part.tables) > 1 and not others else None

    def made_alone(self, start: int, size: int) -> ScaledTokens | None:
        grid = self.grid
        if self._lines is None or grid is None or start % grid.line or size % grid.line:
            return None
        return self._lines(start // grid.line, size // grid.line)


def context_of(
    data: Sequence[tf.Tensor], program: Program, norm: Norm | ContextScale | None, *, tensor: ToTensor
) -> Context:
    """The encoder's, of `source_data`: normalised by ``norm``, its own, if that is shared."""
    match norm:
        case None:
            return Context(tokens(data, program.sources, tensor=tensor))
        case Norm():
            return Context(layer_norm(tokens(data, program.sources, tensor=tensor), norm, tensor=tensor))
        case ContextScale():
            of_sources = zip(data, program.sources, norm.moments, strict=True)
            parts = [_scaled(*of_source, tensor=tensor) for of_source in of_sources]
            return ScaledContext(parts, is_by_line=program.lines > 1)


def zeros_like(x: tf.Tensor) -> tf.Tensor:
    """Zeros that are computed: constants of this shape would be stored in the model."""
    return tf.minimum(tf.abs(x), 0.0)


def _joined(parts: list[tf.Tensor], *, axis: int) -> tf.Tensor:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=axis)


def _scaled(
    data: tf.Tensor, source: Source | Learned, moments: Moments | None, *, tensor: ToTensor
) -> ScaledTokens | _Constant:
    if isinstance(source, Learned):
        rows = source.rows / np.sqrt(source.rows.var(axis=1, keepdims=True) + LAYER_NORM_EPSILON)
        return _Constant(tf.tile(tensor(rows)[None], [data.shape[0], 1, 1]))
    positions = source.positions
    assert positions is not None and moments is not None, "a scale is known only with positions"
    tables = positions.tables if isinstance(positions, AxisPositions) else (positions,)
    return ScaledTokens(data, tables, moments, source.channels, tensor, source.padding)


@dataclass(frozen=True, eq=False)
class Narrow:
    """Tokens of a source by channels, ``[B, c, T]``: their channels, the last of them ones.

    With a ``padding`` ``[k]``, 1 / σ stands in its place.
    """

    columns: tf.Tensor
    padding: tf.Tensor | None = None

    def narrow(self, query: tf.Tensor) -> tf.Tensor:
        """``[B, n, C + 1]``, the last for ones → what is multiplied with the columns, ``[B, n, c]``."""
        if self.padding is None:
            return query
        kept = query.shape[-1] - 1 - self.padding.shape[0]
        of_padding = tf.reduce_sum(query[..., kept:-1] * self.padding, axis=-1, keepdims=True)
        return tf.concat([query[..., :kept], of_padding, query[..., -1:]], axis=-1)

    def widen(self, sums: tf.Tensor) -> tf.Tensor:
        """Sums over the tokens ``[B, n, c]`` → of all channels, and of ones, ``[B, n, C + 1]``."""
        if self.padding is None:
            return sums
        return tf.concat([sums[..., :-2], sums[..., -2:-1] * self.padding, sums[..., -1:]], axis=-1)


@dataclass(frozen=True, eq=False)
class _Constant:
    """Tokens that are constants, and so is their σ."""

    tokens: tf.Tensor

    def rows(self) -> tf.Tensor:
        return self.tokens

    def columns(self, with_one: bool) -> tf.Tensor:
        return Context(self.tokens).columns(with_one=with_one)

    def narrow(self) -> Narrow:
        return Narrow(self.columns(with_one=True))


@dataclass(frozen=True, eq=False)
class ScaledTokens:
    """Data ``[B, T, d]`` and positions, each divided by σ and then put together: no table of all positions is needed.

    ``tables``: of the positions, one an axis; ``channels`` of a token.
    """

    data: tf.Tensor
    tables: tuple[Array, ...]
    moments: Moments
    channels: int
    tensor: ToTensor
    padding: Array | None = None

    @property
    def line(self) -> int:
        """Tokens of one index of the first axis."""
        return int(self.data.shape[1]) // len(self.tables[0])

    def lines(self, start: int, size: int) -> ScaledTokens:
        """So many indices of the first axis from one on, for themselves."""
        batch, _, channels = self.data.shape
        data = tf.slice(self.data, [0, start * self.line, 0], [batch, size * self.line, channels])
        (first, *others), (mean, *means), (square, *squares) = self.tables, self.moments.mean, self.moments.square
        own = slice(start, start + size)
        moments = Moments((mean[own], *means), (square[own], *squares))
        return replace(self, data=data, tables=(first[own], *others), moments=moments)

    def rows(self) -> tf.Tensor:
        inverse_sigma, sizes = self.inverse_sigma, self._sizes
        scaled = [
            _with_axis(tf.multiply, inverse_sigma, self.tensor(table), axis, sizes)
            for axis, table in enumerate(self.tables)
        ]
        if self.padding is not None:
            scaled.append(inverse_sigma * self.tensor(self.padding))
        return tf.concat([self.data * inverse_sigma, *scaled], axis=-1)

    def columns(self, with_one: bool) -> tf.Tensor:
        """Engines multiply long rows with 1 / σ."""
        batch, count, _ = self.data.shape
        one = tf.reshape(self.inverse_sigma, [batch, 1, count])
        parts = self._varying_columns(one)
        if self.padding is not None:
            parts.append(one * self.tensor(self.padding[:, np.newaxis]))
        if with_one:
            parts.append(zeros_like(one) + 1.0)
        return tf.concat(parts, axis=1)

    def narrow(self) -> Narrow:
        """Without padding."""
        if self.padding is None:
            return Narrow(self.columns(with_one=True))
        batch, count, _ = self.data.shape
        one = tf.reshape(self.inverse_sigma, [batch, 1, count])
        columns = tf.concat([*self._varying_columns(one), one, zeros_like(one) + 1.0], axis=1)
        return Narrow(columns, self.tensor(self.padding))

    def _varying_columns(self, one: tf.Tensor) -> list[tf.Tensor]:
        batch, count, channels = self.data.shape
        given = tf.reshape(self.data, [batch, 1, count]) if channels == 1 else tf.transpose(self.data, [0, 2, 1])
        tables = (_axis_columns(one, self.tensor(table), axis, self._sizes) for axis, table in enumerate(self.tables))
        return [given * one, *tables]

    @cached_property
    def outer(self) -> Array:
        """Positions of all axes but the last, ``[lines, channels]``."""
        return AxisPositions(self.tables[:-1]).whole()

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(len(table) for table in self.tables)

    @cached_property
    def inverse_sigma(self) -> tf.Tensor:
        """1 / σ of every token ``[B, T, 1]``; `fold_centring` has the equations, here with s² = square − m²."""
        data, scale = self.data, self.moments
        share = 1.0 - data.shape[-1] / self.channels  # of the positions among all channels
        per_channel, of_positions_share, epsilon = (
            # Of as many axes as the rest: where the last axis is 1, ONNX Runtime takes 50 times as long for a number.
            tf.constant(number, data.dtype, [1, 1, 1])
            for number in (1 / self.channels, share, LAYER_NORM_EPSILON)
        )
        sizes = tuple(len(moment) for moment in scale.mean)

        def plus(x: tf.Tensor, moments: tuple[Array, ...], factor: float) -> tf.Tensor:
            for axis, moment in enumerate(moments):
                x = _with_axis(tf.add, x, self.tensor(moment) * factor, axis, sizes)
            return x

        mean = plus(tf.reduce_sum(data, axis=-1, keepdims=True) * per_channel, scale.mean, share)
        of_data = tf.reduce_sum(tf.math.squared_difference(data, mean), axis=-1, keepdims=True) * per_channel
        # s² + (mean − m)² = square + mean (mean − 2 m), which an axis after the other can be added to
        of_positions = plus(mean * plus(mean, scale.mean, -2.0), scale.square, 1.0)
        return tf.math.rsqrt(of_data + of_positions_share * of_positions + epsilon)


def _axis_columns(one: tf.Tensor, table: tf.Tensor, axis: int, sizes: tuple[int, ...]) -> tf.Tensor:
    """One number a token ``[B, 1, T]`` times a table ``[size, c]`` of one axis: ``[B, c, T]``."""
    batch, _, count = one.shape
    before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
    rows = tf.transpose(table)[tf.newaxis]  # [1, c, size]
    if before > 1:
        spread = (
            tf.reshape(one, [batch, 1, before, sizes[axis] * after]) * tf.repeat(rows, after, axis=-1)[:, :, tf.newaxis]
        )
    else:
        spread = tf.reshape(one, [batch, 1, sizes[axis], after]) * rows[..., tf.newaxis]
    return tf.reshape(spread, [batch, table.shape[1], count])


def _with_axis(
    operator: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    tokens: tf.Tensor,
    table: tf.Tensor,
    axis: int,
    sizes: tuple[int, ...],
) -> tf.Tensor:
    """Of one number a token ``[B, T, 1]``, T a grid of ``sizes``, and a table ``[size, c]`` of one axis: ``[B, T, c]``.

    In four dimensions however many axes there are, as all engines broadcast them.
    """
    batch, count, _ = tokens.shape
    before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
    spread = operator(tf.reshape(tokens, [batch * before, sizes[axis], after, 1]), table[tf.newaxis, :, tf.newaxis])
    return tf.reshape(spread, [batch, count, spread.shape[-1]])
