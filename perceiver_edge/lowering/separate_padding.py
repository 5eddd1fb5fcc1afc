"""Keep channels that are the same for every token of a source as one row, and multiply with them once.

    x = (d, p(t), c) / σ_t        c: what pads one modality to the width of the others
    scores    q·x = [q_d, q_p, q_c·c] · [d, p(t), 1] / σ_t
    sums      Σ w x = (Σ w d / σ, Σ w p / σ, c Σ w / σ)

Of the multimodal Perceiver's 704 channels 461 of an image's token and 303 of a sound's are padding: both products of
its cross-attend then have a third of the multiplications. Exact. Found in the values: whoever padded, such channels
stand at the end of the positions.

Preconditions: the context is only divided by σ (`fold_centring`), and a float core without a maximum reads it
(`absorb`, `drop_maximum`); lines of a grid (`take_lines`) have their own way.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import ContextScale, Program
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.source import Array, AxisPositions, Learned, Source

FEWEST = 16
"""Channels of padding from which on it is worth another form of the core."""


def separate_padding(program: Program) -> tuple[Program, Decision]:
    """Take the padding out of the positions of every source."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("separate_padding", False, reason)

    if not isinstance(program.encoder.context_norm, ContextScale):
        return no("the context is not divided by σ alone")
    if not all(
        block.key is None and block.value is None and not block.has_maximum and not block.is_by_line
        for block in program.encoder.cross_attentions()
    ):
        return no("a cross-attend does not read the context itself, in float and without a maximum")
    sources = tuple(_separated(source) for source in program.sources)
    widths = [
        str(len(new.padding))
        for old, new in zip(program.sources, sources, strict=True)
        if new is not old and isinstance(new, Source) and new.padding is not None
    ]
    if not widths:
        return no(f"no source has {FEWEST} channels that are the same for all its tokens")
    reason = (
        f"{', '.join(widths)} of the {program.context_channels} channels of a token are the same for all of a source"
    )
    return replace(program, sources=sources), Decision("separate_padding", True, reason)


def _separated(source: Source | Learned) -> Source | Learned:
    if isinstance(source, Learned) or source.adds_positions or source.padding is not None or source.positions is None:
        return source
    positions = source.positions
    *others, last = positions.tables if isinstance(positions, AxisPositions) else (positions,)
    count = _constant_at_the_end(last)
    if count < FEWEST:
        return source
    kept = np.ascontiguousarray(last[:, :-count])
    varying = AxisPositions((*others, kept)) if isinstance(positions, AxisPositions) else kept
    return replace(source, positions=varying, padding=last[0, -count:])


def _constant_at_the_end(table: Array) -> int:
    """Channels, at least one of the others kept."""
    varies = np.flatnonzero(np.ptp(table, axis=0))
    return table.shape[1] - 1 - int(varies[-1]) if len(varies) else table.shape[1] - 1
