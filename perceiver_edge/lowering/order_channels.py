"""Put the channels of positions into the order of the axes, so that they can be kept axis by axis.

    x W = (x P) (Pᵀ W)        P a permutation of channels; mean and σ of a token do not ask for their order

transformers has the positions of all axes first, then all sines, then all cosines. Sorted by axis, each channel still
with its own weights, H + W rows say what H · W rows repeat (`separate_positions`). It costs nothing at run time.

Preconditions: the context is shared (`share_context`), nothing is absorbed yet, and nobody else reads the tokens
(`share_rows`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.lowering.program import Array, Linear, Program, map_context_products
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.separate_positions import axes_of_channels
from perceiver_edge.lowering.source import Learned, Source

_DATA = -1


def order_channels(program: Program) -> tuple[Program, Decision]:
    """Sort the channels of every source by the axis along which they vary, the same for all, where that is possible."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("order_channels", False, reason)

    encoder = program.encoder
    blocks = encoder.cross_attentions()
    if encoder.context_norm is None or program.rows_are_tokens:
        return no("the order of the context's channels is not the encoder's alone")
    if any(block.context_norm is not None or block.key is None or block.value is None for block in blocks):
        return no("keys or values are absorbed already")
    axes = [_axes(source) for source in program.sources]
    orders = [np.argsort(of, kind="stable") for of in axes if of is not None and (np.diff(of) < 0).any()]
    if not orders:
        return no("the channels of positions are in the order of the axes, or vary along several")
    order = orders[0]
    if any(of is not None and (np.diff(of[order]) < 0).any() for of in axes):
        return no("the sources want different orders")

    def ordered(linear: Linear) -> Linear:
        return replace(linear, weight=linear.weight[order])

    sources = tuple(_reordered(source, order) for source in program.sources)
    reason = f"{len(order)} channels of a token, of which those of one axis stand together"
    program = replace(map_context_products(program, ordered), sources=sources)
    return program, Decision("order_channels", True, reason)


def _axes(source: Source | Learned) -> NDArray[np.int64] | None:
    """Of every channel of a token the axis that it varies along; the data come first. None where any order will do."""
    if isinstance(source, Learned):
        return None
    axes = axes_of_channels(source)
    if axes is None:
        # Positions that are kept whole still come after the data.
        axes = [0] * (source.channels - source.data_channels)
    return np.array([_DATA] * source.data_channels + axes)


def _reordered(source: Source | Learned, order: NDArray[np.int64]) -> Source | Learned:
    if isinstance(source, Learned):
        return replace(source, rows=source.rows[:, order])
    table, first = source.positions, source.data_channels
    assert not source.adds_positions
    assert table is None or isinstance(table, np.ndarray)
    of_positions: Array | None = None if table is None else table[:, order[first:] - first]
    return replace(source, positions=of_positions)
