"""Let the last feed-forward give answers, not rows: its second projection joins the output's.

    (x + h D + d) E + b = x E + h (D E) + (d E + b)          h: what the feed-forward's activation gives

Rows that answer have hundreds of channels, and an answer has fewer: two numbers of a flow, 262 symbols of a text.
Exact, because a product is linear.

Precondition: the output is a projection of the rows as they are, with fewer outputs than they have channels, and the
last block is a feed-forward whose layer runs once. It pays where many rows answer.
"""

from __future__ import annotations

from dataclasses import replace

from perceiver_edge.lowering.program import FeedForward, Layer, Linear, Program, bias_after
from perceiver_edge.lowering.rule import Decision

LEAST_SAVED = 100_000_000
"""Multiply-accumulates. Where one row answers there is nothing to gain, and one product more."""


def fold_last_down(program: Program) -> tuple[Program, Decision]:
    """Move the last feed-forward to the output, and its second projection into the output's."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("fold_last_down", False, reason)

    output, stack = program.output, program.stacks[-1]
    if output.branch is not None:
        return no("the last feed-forward belongs to the output already")
    if output.projection is None or output.norm is not None or output.is_mean:
        return no("the output is no projection of the rows as they are")
    layer = stack.layers[-1]
    (*kept, (_, block)) = layer.blocks
    if not isinstance(block, FeedForward) or not kept or stack.layers.count(layer) > 1:
        return no("the last block is no feed-forward of its own")
    down, projection = block.down, output.projection
    (hidden, channels), outputs = down.weight.shape, projection.weight.shape[1]
    saved = program.extents()[-1].rows * hidden * (channels - outputs)
    if saved < LEAST_SAVED:
        return no(f"it would save {saved:,} MACs, fewer than {LEAST_SAVED:,}")
    bias = projection.bias
    if down.bias is not None:
        bias = bias_after(down.bias, projection)
    branch = replace(block, down=Linear(down.weight @ projection.weight, None))
    output = replace(output, projection=Linear(projection.weight, bias), branch=branch)
    stack = replace(stack, layers=(*stack.layers[:-1], Layer(tuple(kept))))
    reason = f"{hidden:,} channels become {outputs:,} outputs instead of {channels:,} channels: {saved:,} MACs less"
    folded = replace(program, stacks=(*program.stacks[:-1], stack), output=output)
    return folded, Decision("fold_last_down", True, reason)
