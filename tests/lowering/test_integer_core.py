"""The int8 form of a cross-attend's core: exact in float64 where no score exceeds its bound, and not where one does."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.lowering import integer_core as form
from perceiver_edge.lowering import lower
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.integer_core import Bound, with_integer_cores
from perceiver_edge.lowering.program import CrossAttention, map_blocks
from perceiver_edge.lowering.shared_context import CoreOperands

ABSORBED = {"cross_heads": 1, "cross_dim_head": 40}
ABSORBED_HEADS = {"cross_heads": 3, "cross_dim_head": 40}
KEPT = {"cross_heads": 2, "cross_dim_head": 4, "num_freq_bands": 12}
KEPT_TIED = KEPT | {"weight_tie_layers": True, "depth": 3}

INPUTS = np.random.default_rng(0).standard_normal((2, 6, 8, 3))


def bounds_of(program, inputs, *, margin=0.1):
    """Right above the largest score of each row, as calibration finds them."""
    bounds = {}

    def core_tap(name: str, operands: CoreOperands) -> None:
        scores = tf.matmul(operands.query, operands.keys, transpose_b=True)
        bound = tf.reshape(tf.reduce_max(scores, axis=[0, -1]), [-1]).numpy() + margin
        key, value = (float(tf.reduce_max(tf.abs(t))) for t in (operands.keys, operands.values))
        bounds[name] = Bound(bound, key, value)

    LoweredPerceiver(program, dtype=tf.float64)(tf.constant(inputs), core_tap=core_tap)
    return bounds


@pytest.fixture(params=[ABSORBED, ABSORBED_HEADS, KEPT, KEPT_TIED], ids=["absorbed", "3 heads", "kept", "kept, tied"])
def lowered(request, plain):
    return lower(plain(input_shape=(6, 8), **{"depth": 2} | request.param))[0]


@pytest.mark.parametrize("chunk_bytes", [1 << 20, 64], ids=["whole", "in chunks"])
def test_elu_is_exact(lowered, chunk_bytes, execute, relative_l2, monkeypatch):
    monkeypatch.setattr(form, "CHUNK_BYTES", chunk_bytes)
    rewritten = with_integer_cores(lowered, bounds_of(lowered, INPUTS), exponential="elu")
    assert all(block.core is not None for block in rewritten.cross_attentions())
    assert (rewritten.encoder.chunks > 1) == (chunk_bytes == 64)
    assert relative_l2(execute(rewritten, INPUTS), execute(lowered, INPUTS)) < 1e-9


def test_sigmoid_is_exp_to_its_shift(lowered, execute, relative_l2):
    bounds = bounds_of(lowered, INPUTS)
    rewritten = with_integer_cores(lowered, bounds, exponential="sigmoid")
    error = relative_l2(execute(rewritten, INPUTS), execute(lowered, INPUTS))
    assert 1e-9 < error < math.exp(-form.SIGMOID_SHIFT)


def test_a_score_above_its_bound_is_seen(lowered, execute, relative_l2):
    bounds = bounds_of(lowered, INPUTS, margin=-0.5)
    rewritten = with_integer_cores(lowered, bounds, exponential="elu")
    assert relative_l2(execute(rewritten, INPUTS), execute(lowered, INPUTS)) > 1e-6


def test_only_the_named_cores_change(lowered):
    bounds = bounds_of(lowered, INPUTS)
    name, bound = next(iter(bounds.items()))
    rewritten = with_integer_cores(lowered, {name: bound}, exponential="elu")
    assert [block.core is not None for block in rewritten.cross_attentions()] == [key == name for key in bounds]


def test_tied_projections_stay_one(plain):
    program = lower(plain(input_shape=(6, 8), **KEPT_TIED))[0]
    rewritten = with_integer_cores(program, bounds_of(program, INPUTS), exponential="elu")
    assert rewritten.cross_attentions()[1].value is not program.cross_attentions()[1].value
    before, after = ([id(block.output) for block in p.cross_attentions()] for p in (program, rewritten))
    assert before == after


def test_no_core_where_a_context_is_not_shared_or_scores_are_scaled(plain):
    program = plain(**ABSORBED)
    assert not form.integer_blocks(program)
    program = lower(program)[0]
    assert len(form.integer_blocks(program)) == len(program.cross_attentions())
    assert not form.integer_blocks(
        map_blocks(program, lambda b: replace(b, scale=0.5) if isinstance(b, CrossAttention) else b)
    )


def test_no_core_whose_sums_could_overflow(plain):
    """A prime number of tokens cannot be taken in equal chunks."""
    for tokens, possible in ((4093, True), (4099, False), (2 * 4093, True)):
        program = lower(plain(input_shape=(1, tokens), num_latents=1, **ABSORBED))[0]
        assert bool(form.integer_blocks(program)) == possible


@pytest.mark.parametrize(("tokens", "limit", "chunks"), [(48, 10**6, 1), (48, 100, 8), (67, 100, 1)])
def test_chunks_are_equal_and_fit_where_they_can(tokens, limit, chunks, plain, monkeypatch):
    monkeypatch.setattr(form, "CHUNK_BYTES", limit)
    program = lower(plain(input_shape=(1, tokens), num_latents=16, **ABSORBED))[0]
    assert form.num_chunks(program) == chunks


def test_in_single_precision_each_array_is_in_memory_once(plain, execute, relative_l2):
    program = lower(plain(input_shape=(6, 8), **KEPT_TIED))[0]
    module = LoweredPerceiver.in_single_precision(program)
    first, second = module.program.encoder.layers[1:3]
    assert first is second
    for array in (module.program.encoder.rows, module.program.output.projection.weight):
        assert array.dtype == np.float32
        assert np.shares_memory(array, np.asarray(memoryview(module.tensor(array))))
    assert relative_l2(module(tf.constant(INPUTS, tf.float32)), execute(program, INPUTS)) < 1e-5


@pytest.mark.parametrize("shape", [(16, 112, 112), (201, 100), (257, 256), (2, 8192)])
def test_the_lines_of_a_grid_do_not_hinder_its_cores(shape, plain):
    """Chunks have another order than the grid's."""
    program = lower(plain(input_shape=shape, input_axis=len(shape), depth=1, num_latents=1, **ABSORBED))[0]
    assert len(form.integer_blocks(program)) == 1


def test_the_reason_why_there_is_no_core_is_the_real_one(plain):
    program = lower(plain(input_shape=(1, 4099), num_latents=1, **ABSORBED))[0]
    assert "4,099 tokens cannot be divided" in form.why_none(program)
    assert "shared context" in form.why_none(plain(**ABSORBED))
