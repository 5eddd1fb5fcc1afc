"""Compute query, key and value of a self-attend in one projection.

    [x W_q | x W_k | x W_v] = x [W_q | W_k | W_v]

One GEMM three times as wide reads its input once and keeps the cores busier. It always pays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perceiver_edge.lowering.program import Block, Linear, Program, SelfAttention, map_blocks
from perceiver_edge.lowering.rule import Decision


def fuse_qkv(program: Program) -> tuple[Program, Decision]:
    """Leave every self-attend with one projection."""
    blocks = [block for _, block in program.named_blocks() if isinstance(block, SelfAttention)]
    if not any(len(block.projections) > 1 for block in blocks):
        return program, Decision("fuse_qkv", False, "no self-attend has separate projections")
    reason = f"one projection instead of three, {len(blocks)} times"
    return map_blocks(program, _fuse), Decision("fuse_qkv", True, reason)


def _fuse(block: Block) -> Block:
    return replace(block, projections=(concatenated(block.projections),)) if isinstance(block, SelfAttention) else block


def concatenated(linears: tuple[Linear, ...]) -> Linear:
    """Linears on the same input as one, their outputs side by side."""
    weight = np.concatenate([linear.weight for linear in linears], axis=1)
    if all(linear.bias is None for linear in linears):
        return Linear(weight)
    biases = [np.zeros(linear.weight.shape[1]) if linear.bias is None else linear.bias for linear in linears]
    return Linear(weight, np.concatenate(biases))
