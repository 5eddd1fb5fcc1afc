"""Attention in chunks of tokens is attention: to 1e-9 in float64, with masks, and however far the scores reach."""

import numpy as np
import pytest

from perceiver_edge.lowering import OPTIMIZE_FOR, chunk_keys, lower, plain_program


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
