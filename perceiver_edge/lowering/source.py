"""How an input becomes tokens: values, without a framework; `tokens` runs them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """``x @ weight + bias``; weight ``[in, out]``, bias ``[out]``."""

    weight: Array
    bias: Array | None = None


@dataclass(frozen=True, eq=False)
class Affine:
    """A Linear on the channels of every element: a convolution of size 1."""

    linear: Linear

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], self.linear.weight.shape[1])


@dataclass(frozen=True, eq=False)
class Convolution:
    """Convolve an image, scale and offset each channel (a batch normalisation of inference), ReLU, and pool maxima.

    ``kernel`` ``[height, width, in, out]``; ``scale`` (None: 1) and ``offset`` ``[out]``. ``padding``: zeros on every
    side. Windows of the pooling are squares of ``pool``, moved by ``pool_stride``, without padding.
    """

    kernel: Array
    scale: Array | None
    offset: Array
    stride: int
    padding: int
    pool: int
    pool_stride: int

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        height, width = (
            _positions(_positions(size + 2 * self.padding, window, self.stride), self.pool, self.pool_stride)
            for size, window in zip(shape[:2], self.kernel.shape[:2], strict=True)
        )
        return height, width, self.kernel.shape[3]


def _positions(size: int, window: int, stride: int) -> int:
    """Of a window that stays inside."""
    return (size - window) // stride + 1


@dataclass(frozen=True, eq=False)
class Lookup:
    """Integers become rows of a ``table`` ``[entries, channels]``."""

    table: Array

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape, self.table.shape[1])


@dataclass(frozen=True)
class Patches:
    """Blocks of elements become the channels of one: (position in the block, axis by axis; channel), in that order.

    ``sizes``: of a block along each axis.
    """

    sizes: tuple[int, ...]

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        blocks = (size // block for size, block in zip(shape, self.sizes, strict=False))
        return (*blocks, math.prod(self.sizes) * shape[-1])


Stem = Affine | Convolution | Lookup | Patches


@dataclass(frozen=True, eq=False)
class AxisPositions:
    """Positions of a grid, one table an axis (`separate_positions`): ``[size, channels]``, side by side in a token."""

    tables: tuple[Array, ...]

    @property
    def channels(self) -> int:
        return sum(table.shape[1] for table in self.tables)

    def whole(self) -> Array:
        """``[tokens, channels]``."""
        sizes = tuple(len(table) for table in self.tables)
        spread = [
            np.broadcast_to(table.reshape(over_axis(table.shape, axis, len(sizes))), (*sizes, table.shape[1]))
            for axis, table in enumerate(self.tables)
        ]
        return np.concatenate(spread, axis=-1).reshape(math.prod(sizes), -1)


def over_axis(shape: tuple[int, ...], axis: int, axes: int) -> tuple[int, ...]:
    """Of a table ``[size, channels]`` of one axis: its shape among so many axes, to be broadcast over the others."""
    size, channels = shape
    return (*(1,) * axis, size, *(1,) * (axes - axis - 1), channels)


@dataclass(frozen=True, eq=False)
class Learned:
    """Tokens that no input decides: ``rows`` ``[tokens, channels]``."""

    rows: Array

    @property
    def tokens(self) -> int:
        return len(self.rows)

    @property
    def channels(self) -> int:
        """Of a token."""
        return self.rows.shape[1]


@dataclass(frozen=True, eq=False)
class Source:
    """One input and how it becomes tokens: ``stem``, step by step, makes the data; then come the positions.

    Args:
        name: of the input. ``shape``: without the batch; integers have no channels.
        positions: ``[tokens, channels]``, or a table an axis. They come after the data's channels, or, with
            ``adds_positions``, are added to them.
        padding: ``[channels]`` that come last, the same for every token (`separate_padding`).
    """

    name: str
    shape: tuple[int, ...]
    stem: tuple[Stem, ...]
    positions: Array | AxisPositions | None
    adds_positions: bool = False
    padding: Array | None = None

    @property
    def is_integer(self) -> bool:
        return any(isinstance(step, Lookup) for step in self.stem)

    @property
    def data_shape(self) -> tuple[int, ...]:
        """What the stem makes of an input."""
        shape = self.shape
        for step in self.stem:
            shape = step.shape(shape)
        return shape

    @property
    def tokens(self) -> int:
        return math.prod(self.data_shape[:-1])

    @property
    def data_channels(self) -> int:
        return self.data_shape[-1]

    @property
    def channels(self) -> int:
        """Of a token."""
        if self.positions is None or self.adds_positions:
            return self.data_channels
        positions, padding = self.positions, 0 if self.padding is None else len(self.padding)
        of_positions = positions.channels if isinstance(positions, AxisPositions) else positions.shape[1]
        return self.data_channels + of_positions + padding
