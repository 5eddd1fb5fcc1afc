"""Keep the positions of a grid axis by axis.

    p(y, x) = (a(y), b(x))        Fourier features encode each axis by itself: H + W rows say what H · W rows repeat

The engine multiplies each axis with 1 / σ, which it does with positions anyway, and so spreads it over the tokens. (A
broadcast of constants alone is folded back into the whole table by TFLite's converter.) At 224 × 224 that is 448 rows
instead of 50,176, most of the file of a small model. A token's mean and mean square over its positions, which
`fold_centring` needs, are sums over the axes, too:

    m(y, x) = m_a(y) + m_b(x)     s(y, x) = s_a(y) + s_b(x)      variance s − m²

Read from the values alone: whoever made the positions, they are separable if no channel varies along two axes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import ContextScale, Moments, Program
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.source import Array, AxisPositions, Source


def separate_positions(program: Program) -> tuple[Program, Decision]:
    """Replace each source's table of positions by one table an axis, where no channel varies along two axes."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("separate_positions", False, reason)

    found = {id(source): positions for source in program.inputs if (positions := separated(source)) is not None}
    if not found:
        return no("no table of positions over several axes, or it is not separable")
    sources = tuple(
        replace(source, positions=found[id(source)]) if isinstance(source, Source) and id(source) in found else source
        for source in program.sources
    )
    rows = sum(source.tokens for source in program.sources if id(source) in found)
    kept = sum(len(table) for positions in found.values() for table in positions.tables)
    encoder = program.encoder
    if isinstance(norm := encoder.context_norm, ContextScale):
        of_sources = zip(program.sources, norm.moments, strict=True)
        by_source = tuple(moments(found[id(source)]) if id(source) in found else of for source, of in of_sources)
        encoder = replace(encoder, context_norm=ContextScale(by_source))
    stacks = (encoder, *program.stacks[1:])
    reason = f"{kept:,} rows of positions, axis by axis, instead of {rows:,}"
    return replace(program, sources=sources, stacks=stacks), Decision("separate_positions", True, reason)


def separated(source: Source) -> AxisPositions | None:
    """The source's positions axis by axis; None if they are not separable, or there is nothing to separate."""
    axis_of = axes_of_channels(source)
    if axis_of is None or axis_of != sorted(axis_of):
        return None
    sizes = source.data_shape[:-1]
    assert isinstance(source.positions, np.ndarray)
    grid = source.positions.reshape(*sizes, -1)
    lines = [np.moveaxis(grid, axis, 0).reshape(size, -1, grid.shape[-1])[:, 0] for axis, size in enumerate(sizes)]
    return AxisPositions(tuple(line[:, np.equal(axis_of, axis)] for axis, line in enumerate(lines)))


def axes_of_channels(source: Source) -> list[int] | None:
    """The axis that each channel of the positions varies along; None where one varies along two, or there is one axis.

    A channel that never varies goes with its neighbour.
    """
    sizes = source.data_shape[:-1]
    if not isinstance(source.positions, np.ndarray) or source.adds_positions or len(sizes) < 2:
        return None
    grid = source.positions.reshape(*sizes, -1)
    varies = [np.ptp(grid, axis=axis).reshape(-1, grid.shape[-1]).any(axis=0) for axis in range(len(sizes))]
    if any(sum(of_axis[channel] for of_axis in varies) > 1 for channel in range(grid.shape[-1])):
        return None
    axis_of = [0]
    for channel in range(grid.shape[-1]):
        axis_of.append(next((axis for axis, of_axis in enumerate(varies) if of_axis[channel]), axis_of[-1]))
    return axis_of[1:]


def moments(positions: AxisPositions) -> Moments:
    """What `fold_centring` needs of the positions, axis by axis."""

    def by_axis(power: int) -> tuple[Array, ...]:
        return tuple((table**power).sum(axis=1, keepdims=True) / positions.channels for table in positions.tables)

    return Moments(mean=by_axis(1), square=by_axis(2))
