"""Make keys and values of looked-up tokens from tables: what a product gives is known for every symbol and every place.

A token is the row of its symbol b in one table plus that of its place t in another. Without their means over channels,
e and p, it is normalised by a σ that only b and t decide:

    x̂ = (e_b + p_t) / σ(b, t)                    C σ(b, t)² = |e_b + p_t|² + C ε
    x̂ W = ((e W)_b + (p W)_t) / σ(b, t)          e W, p W, 1 / σ: tables

So the product of all tokens with W becomes a look-up, a sum and a product with one number a token. Biases are taken out
of the way: that of the keys shifts a whole row of scores, which softmax ignores, and that of the values goes through,
because the weights of a row sum to 1. Exact.

Precondition: one source, whose symbols have learned positions, and a shared context (`share_context`). It pays where a
token is projected, and as long as the tables, which no int8 model has in 8 bits, are small beside the model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.config import LAYER_NORM_EPSILON
from perceiver_edge.lowering.program import (
    Block,
    CrossAttention,
    Linear,
    Norm,
    Program,
    TokenTables,
    bias_after,
    map_stack,
)
from perceiver_edge.lowering.rule import Decision
from perceiver_edge.lowering.source import Lookup, Source

MOST_SHARE = 0.05
"""Of the bytes of a model in int8, by which float32 tables may make it larger."""

LEAST_PRODUCTS = 100_000_000
"""Multiply-accumulates of the projections: of fewer no gain was measured."""


def tabulate_tokens(program: Program) -> tuple[Program, Decision]:
    """Look up what the context's projections give."""

    def no(reason: str) -> tuple[Program, Decision]:
        return program, Decision("tabulate_tokens", False, reason)

    (source, *others) = program.sources
    if others or not isinstance(source, Source) or not _is_a_sum_of_rows(source):
        return no("tokens are not the sum of a symbol's row and a place's")
    if not isinstance(program.encoder.context_norm, Norm) or program.encoder.context_norm.gamma is not None:
        return no("the context is not shared, or tabulated already")
    blocks = program.encoder.cross_attentions()
    linears = {id(side): side for block in blocks for side in (block.key, block.value) if side is not None}
    if any(None in (block.key, block.value, block.output) or block.is_inverted for block in blocks):
        return no("keys or values are absorbed, or softmax is over the rows")
    width = sum(linear.weight.shape[1] for linear in linears.values())
    products = source.tokens * source.channels * width
    if products < LEAST_PRODUCTS:
        return no(f"the projections have {products:,} MACs, fewer than {LEAST_PRODUCTS:,}")
    tables = _tables(source)
    symbols = len(tables.symbols)
    added = 4 * (symbols * source.tokens + (symbols + source.tokens) * (width - source.channels))
    if added > MOST_SHARE * _weights(program):
        return no(f"the tables add {added:,} bytes, more than {MOST_SHARE:.0%} of the model in int8")
    unbiased = {key: Linear(linear.weight) for key, linear in linears.items()}

    def rewritten(block: Block) -> Block:
        return _without_biases(block, unbiased) if isinstance(block, CrossAttention) else block

    encoder = replace(map_stack(program.encoder, rewritten), context_norm=tables)
    reason = f"{products:,} MACs of {len(linears)} projections are looked up, by {symbols:,} symbols at "
    reason += f"{source.tokens:,} places"
    return replace(program, stacks=(encoder, *program.stacks[1:])), Decision("tabulate_tokens", True, reason)


def _is_a_sum_of_rows(source: Source) -> bool:
    is_looked_up = len(source.stem) == 1 and isinstance(source.stem[0], Lookup) and len(source.shape) == 1
    return is_looked_up and isinstance(source.positions, np.ndarray) and source.adds_positions


def _tables(source: Source) -> TokenTables:
    (lookup,), positions = source.stem, source.positions
    assert isinstance(lookup, Lookup) and isinstance(positions, np.ndarray)
    symbols, places = (table - table.mean(axis=1, keepdims=True) for table in (lookup.table, positions))
    squares = [(table**2).sum(axis=1) for table in (places, symbols)]
    variance = (squares[0][:, np.newaxis] + squares[1] + 2 * places @ symbols.T) / source.channels
    return TokenTables(symbols, places, (np.maximum(variance, 0) + LAYER_NORM_EPSILON) ** -0.5)


def _weights(program: Program) -> int:
    """Numbers of all products with weights, those of a shared block once."""
    fields = [value for _, block in program.named_blocks() for value in vars(block).values()]
    parts = [part for value in fields for part in (value if isinstance(value, tuple) else (value,))]
    linears = {id(part): part for part in (*parts, program.output.projection) if isinstance(part, Linear)}
    return sum(linear.weight.size for linear in linears.values())


def _without_biases(block: CrossAttention, unbiased: dict[int, Linear]) -> CrossAttention:
    """Softmax ignores the keys' bias, and passes the values' on to the output."""
    assert block.value is not None and block.output is not None
    output = block.output
    if block.value.bias is not None:
        output = Linear(output.weight, bias_after(block.value.bias, output))
    return replace(block, key=unbiased[id(block.key)], value=unbiased[id(block.value)], output=output)
