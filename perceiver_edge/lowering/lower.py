"""The lowering schedule: which rules run, in which order, and why in that order."""

from __future__ import annotations

from perceiver_edge.lowering.absorb import absorb_keys, absorb_values
from perceiver_edge.lowering.absorb_rows import absorb_rows
from perceiver_edge.lowering.balance_heads import balance_heads
from perceiver_edge.lowering.chunk_heads import chunk_heads
from perceiver_edge.lowering.chunk_keys import chunk_keys
from perceiver_edge.lowering.chunk_rows import chunk_rows
from perceiver_edge.lowering.drop_maximum import drop_maximum
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.fold_centring import fold_centring
from perceiver_edge.lowering.fold_first_query import fold_first_query
from perceiver_edge.lowering.fold_last_down import fold_last_down
from perceiver_edge.lowering.fuse_qkv import fuse_qkv
from perceiver_edge.lowering.order_channels import order_channels
from perceiver_edge.lowering.program import Program
from perceiver_edge.lowering.rule import Decision, Rule
from perceiver_edge.lowering.separate_padding import separate_padding
from perceiver_edge.lowering.separate_positions import separate_positions
from perceiver_edge.lowering.share_context import share_context
from perceiver_edge.lowering.share_rows import share_rows
from perceiver_edge.lowering.tabulate_tokens import tabulate_tokens
from perceiver_edge.lowering.take_lines import take_lines

RULES: tuple[Rule, ...] = (
    fold_affine,  # first: only a context without an affine is the same for all layers
    share_context,  # before absorption, which reads the shared context
    share_rows,  # before the rules for the context, which then hold for these rows, too
    order_channels,  # before absorption, too: it reorders the rows of weights that read the context
    fold_centring,  # before absorption, which merges the weights that take the mean out with others
    absorb_rows,  # before its mirror image, which many rows would make dearer
    absorb_keys,
    absorb_values,
    tabulate_tokens,  # of what is not absorbed; its bias of the output goes where `fold_first_query` puts such a bias
    fold_first_query,  # after absorption: the constant is the absorbed query
    balance_heads,  # after `fold_affine`: what is left to multiply is normalised
    fuse_qkv,
    chunk_heads,
    chunk_rows,
    drop_maximum,  # its bound is that of the scores as they are computed
    separate_positions,  # after `fold_centring`, which reads the table
    take_lines,  # of cores without a maximum and positions axis by axis
    separate_padding,  # of cores without a maximum, where no lines are taken
    fold_last_down,  # after `fold_affine`, which does not look for blocks at the output
)

OPTIMIZE_FOR: dict[str, tuple[Rule, ...]] = {
    "latency": RULES,
    "memory": (*RULES, chunk_keys),  # last: absorption changes what there is to chunk
}
"""The schedule by what matters most."""


def lower(program: Program, *, optimize_for: str = "latency") -> tuple[Program, tuple[Decision, ...]]:
    """Apply every rule in order; the result computes the same function (float64: to 1e-9)."""
    decisions = []
    for rule in OPTIMIZE_FOR[optimize_for]:
        program, decision = rule(program)
        decisions.append(decision)
    return program, tuple(decisions)
