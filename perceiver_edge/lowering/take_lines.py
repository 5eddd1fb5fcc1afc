"""Attend to the tokens of a grid line by line, so that most positions are one number a line.

Token (l, x) stands in line l at place x of the last axis. Its channels are data d, positions p(l) and p(x), over σ:

    scores    q·x̂ = (q_d·d + q_x·p(x) + q_l·p(l)) / σ = [q_d, q_x, q_l·p(l)] · [d, p(x), 1] / σ
    sums      Σ w p(l) / σ = Σ_l p(l) (Σ_x w / σ)

So both products of a core have the channels of the data, of the last axis, and one more, whatever the other axes have:
12 instead of 20 for the digits at 224 × 224, 134 instead of 262 in the paper's model. The query's part that a line has
for itself is a small product of its own, and so is the sum of the lines' positions. Exact.

It needs a core that reads the context itself (`absorb`), computed in float without a maximum (`drop_maximum`): the sums
of chunks are then plain sums. Its scores must be at most `MOST_BYTES`, and the lines must divide into chunks.
Tokens stand on the left of both products, which engines do fastest for such a core.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.chunk_keys import MOST_CHUNKS
from perceiver_edge.lowering.program import Block, ContextScale, CrossAttention, Extent, Program, map_blocks
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.source import AxisPositions, Source

MOST_BYTES = 256 << 20
"""Of a cross-attend's float32 scores. They stand on the right of a product, and LiteRT keeps a packed copy of them all:
of the optical flow's 1.5 GB it held 950 MB more, for a tenth of the time."""

SHORTEST_LINE = 64
"""Tokens. A line is one of many small products, each with a right side of its own."""


def take_lines(program: Program) -> tuple[Program, Decision]:
    """Let every float cross-attend without a maximum read a grid's tokens line by line."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("take_lines", False, reason)

    (source, *others) = program.sources
    if others or not isinstance(source, Source) or not isinstance(source.positions, AxisPositions):
        return no("the tokens are no grid with positions axis by axis")
    if source.padding is not None:
        return no("the padding is kept apart")
    if not isinstance(program.encoder.context_norm, ContextScale):
        return no("the context is not divided by σ alone")
    lines, width = source.tokens // source.data_shape[-2], source.data_shape[-2]
    if width < SHORTEST_LINE:
        return no(f"a line has {width} tokens, fewer than {SHORTEST_LINE}")
    extent = program.extents()[0]
    chunks = {
        id(block): next(n for n in range(min(block.chunks, lines), lines + 1) if lines % n == 0)
        for block in program.encoder.cross_attentions()
        if _is_suited(block, extent)
    }
    suited = {key for key, count in chunks.items() if count <= MOST_CHUNKS}
    if not suited:
        return no(
            "no cross-attend reads the context itself, in float and without a maximum, with scores of at most "
            f"{MOST_BYTES:,} bytes and in at most {MOST_CHUNKS} chunks of whole lines"
        )

    def rewrite(block: Block) -> Block:
        if not isinstance(block, CrossAttention) or id(block) not in suited:
            return block
        return replace(block, is_by_line=True, chunks=chunks[id(block)])

    channels = source.data_channels + source.positions.tables[-1].shape[1] + 2
    reason = f"{len(suited)} cross-attends read {lines:,} lines of {width:,} tokens: {channels} channels a token "
    reason += f"instead of {source.channels + 1}, for the positions of a line are one number"
    return map_blocks(program, rewrite), Decision("take_lines", True, reason)


def _is_suited(block: CrossAttention, extent: Extent) -> bool:
    if 4 * block.heads * extent.rows * extent.tokens > MOST_BYTES:
        return False
    return block.key is None and block.value is None and block.core is None and not block.has_maximum
