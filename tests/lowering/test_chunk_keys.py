"""Attention in chunks of tokens is attention: to 1e-9 in float64, with masks, and however far the scores reach."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.lowering import OPTIMIZE_FOR, chunk_keys, lower, plain_program
from perceiver_edge.lowering.program import with_stacks


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunk_keys, "CHUNK_BYTES", 128)


def test_on_the_grid(golden_case, execute, relative_l2):
    program = plain_program(golden_case.config, golden_case.weights, golden_case.inputs.shape[1:-1])
    lowered, decisions = lower(program, optimize_for="memory")
    assert decisions[-1].rule == "chunk_keys"
    assert relative_l2(execute(lowered, golden_case.inputs, golden_case.mask), golden_case.output) < 1e-9


def test_it_chunks_what_is_large_and_nothing_else(plain, monkeypatch):
    program = lower(plain(input_shape=(6, 8)), optimize_for="memory")[0]
    assert all(block.chunks > 1 for block in program.cross_attentions())
    monkeypatch.setattr(chunk_keys, "CHUNK_BYTES", 1 << 20)
    unchanged, decision = chunk_keys.chunk_keys(lower(plain(input_shape=(6, 8)))[0])
    assert not decision.applied
    assert all(block.chunks == 1 for block in unchanged.cross_attentions())


def test_scores_far_apart_do_not_overflow(plain, execute, relative_l2):
    whole = lower(plain(input_shape=(6, 8)))[0]
    inputs = 1e3 * np.random.default_rng(0).standard_normal((1, 6, 8, 3))
    for layer in whole.encoder.layers:
        for _, block in layer.blocks:
            if hasattr(block, "query") and isinstance(block.query, np.ndarray):
                block.query[...] *= 1e3
    chunked = chunk_keys.chunk_keys(whole)[0]
    output = execute(chunked, inputs)
    assert np.isfinite(output).all()
    assert relative_l2(output, execute(whole, inputs)) < 1e-9


def test_latency_does_not_chunk():
    assert chunk_keys.chunk_keys not in OPTIMIZE_FOR["latency"]


@pytest.mark.parametrize(
    ("shape", "limit", "chunks"),
    [((8, 12), 16, 8), ((3, 12), 1, 36), ((40, 6), 4, 40), ((64,), 16, 4)],
    ids=["whole lines fit", "lines are too few", "lines nearly fit", "no lines"],
)
def test_chunks_are_of_whole_lines_where_these_are_small_enough(shape, limit, chunks, plain):
    program = plain(input_shape=shape, input_axis=len(shape), depth=1, cross_heads=1)
    (block,), (extent, *_) = program.cross_attentions(), program.extents()
    extent = replace(extent, rows=1)
    assert chunk_keys.fitting_chunks(extent, block, bytes_per_score=1, limit_bytes=limit) == chunks


def test_chunks_are_for_the_rows_that_are_computed_at_once(plain):
    program = lower(plain(input_shape=(6, 8)))[0]
    (extent, *_), heads = program.extents(), program.cross_attentions()[0].heads
    parts = extent.rows
    divided = with_stacks(program, lambda stack, _: replace(stack, row_chunks=parts))
    chunks = [chunk_keys.chunk_keys(p)[0].cross_attentions()[0].chunks for p in (program, divided)]
    assert 4 * heads * extent.rows * extent.tokens // chunks[0] <= chunk_keys.CHUNK_BYTES
    assert chunks[1] < chunks[0]
