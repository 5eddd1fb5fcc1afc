"""Softmax without its maximum is softmax, to 1e-9 in float64; and the bound that allows it holds for every input."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.lowering import drop_maximum as rule
from perceiver_edge.lowering import lower, plain_program, take_lines
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.program import CrossAttention, Linear, map_blocks, scaled
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE

ABSORBED = {"cross_heads": 1, "cross_dim_head": 40}
ABSORBED_HEADS = {"cross_heads": 3, "cross_dim_head": 40}
KEPT = {"cross_heads": 2, "cross_dim_head": 4, "num_freq_bands": 12}


def single(program):
    return LoweredPerceiver.in_single_precision(program).program


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(rule, "CHUNK_BYTES", 128)
    monkeypatch.setattr(rule, "FEW_ROWS_BYTES", 128)


@pytest.fixture(params=[ABSORBED, ABSORBED_HEADS, KEPT], ids=["absorbed", "3 heads", "kept"])
def lowered(request, plain):
    return lower(plain(input_shape=(6, 8), **{"depth": 2} | request.param))[0]


def sharper(program, factor):
    """The same program with its queries, and so every score, multiplied."""

    def rewrite(block):
        if not isinstance(block, CrossAttention):
            return block
        query = scaled(block.query, factor) if isinstance(block.query, Linear) else block.query * factor
        return replace(block, query=query)

    return map_blocks(program, rewrite)


def up_to_the_limit(program):
    """The same program with queries as large as exp holds."""
    (stack,), (extent,) = program.stacks, program.extents()
    room = min(
        rule.largest_exponent(block, extent) / rule.largest_score(block, stack, extent)
        for block in stack.cross_attentions()
    )
    return sharper(program, 0.999 * room)


def inputs_of_all_kinds():
    """Small, large, constant, with one token or one channel that stands out."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((1, 6, 8, 3))
    yield from (noise * scale for scale in (0.0, 1e-3, 1.0, 1e3, 1e6))
    for token in range(0, 48, 5):
        lonely = np.zeros((1, 48, 3))
        lonely[0, token] = 1e4 * random.standard_normal(3)
        yield lonely.reshape(noise.shape)


@pytest.mark.parametrize("few", [1, 10**6], ids=["row by row", "token by token"])
def test_on_the_grid(golden_case, few, execute, relative_l2, monkeypatch):
    monkeypatch.setattr(rule, "FEW_ROWS", few)
    program = plain_program(golden_case.config, golden_case.weights, golden_case.inputs.shape[1:-1])
    without, decision = rule.drop_maximum(lower(program)[0])
    assert not decision.applied  # `lower` has done it
    output = execute(without, golden_case.inputs, golden_case.mask)
    assert relative_l2(output, golden_case.output) < 1e-9


def test_large_cross_attends_lose_their_maximum(lowered):
    assert all(not block.has_maximum and block.chunks > 1 for block in lowered.cross_attentions())
    back = rule.with_maximum(lowered)
    assert all(block.has_maximum and block.chunks == 1 for block in back.cross_attentions())
    assert rule.with_maximum(back) is back


def test_small_ones_keep_it(plain, monkeypatch):
    monkeypatch.setattr(rule, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(rule, "FEW_ROWS_BYTES", 1 << 20)
    program, decisions = lower(plain(input_shape=(6, 8)))
    assert all(block.has_maximum for block in program.cross_attentions())
    assert not {decision.rule: decision for decision in decisions}["drop_maximum"].applied


def test_no_score_is_larger_than_its_bound(lowered, monkeypatch):
    """And scores come within a tenth of it, or the bound would say nothing."""
    (stack,), (extent,) = lowered.stacks, lowered.extents()
    bounds = [rule.largest_score(block, stack, extent) for block in stack.cross_attentions()]
    largest = np.zeros(len(bounds))
    exp, found = tf.exp, []
    monkeypatch.setattr(tf, "exp", lambda scores: found.append(float(tf.reduce_max(tf.abs(scores)))) or exp(scores))
    for inputs in inputs_of_all_kinds():
        found.clear()
        LoweredPerceiver(lowered, dtype=tf.float64)(tf.constant(inputs))
        by_block = np.array(found).reshape(len(bounds), -1).max(axis=1)
        assert (by_block <= bounds).all()
        largest = np.maximum(largest, by_block)
    assert (largest > np.array(bounds) / 10).all()


def test_no_input_overflows_float32_up_to_the_limit(lowered, execute, relative_l2):
    sharp = up_to_the_limit(lowered)
    for inputs in inputs_of_all_kinds():
        got = execute(single(sharp), inputs, dtype=tf.float32)
        assert np.isfinite(got).all()
        assert relative_l2(got, execute(rule.with_maximum(sharp), inputs)) < 1e-3  # scores near 75 have 4e-6 each


def test_beyond_the_limit_softmax_stays_and_the_reason_says_so(lowered):
    restored = sharper(rule.with_maximum(lowered), 1e3)
    unchanged, decision = rule.drop_maximum(restored)
    assert unchanged is restored
    assert not decision.applied
    assert "softmax stays" in decision.reason


def over_the_limit(lowered, share):
    """The same program with its sharpest cross-attend at ``share`` of what the rule takes, and the rule once more."""
    (stack,), (extent,) = lowered.stacks, lowered.extents()
    room = min(
        (rule.largest_exponent(block, extent) + rule.reserve(extent)) / rule.largest_score(block, stack, extent)
        for block in stack.cross_attentions()
    )
    program, decision = rule.drop_maximum(sharper(rule.with_maximum(lowered), share * room))
    return program, decision.reason


def test_rows_that_could_overflow_are_lowered_by_what_their_own_query_allows(lowered, execute, relative_l2):
    sharp, reason = over_the_limit(lowered, 0.99)
    if lowered.cross_attentions()[0].key is not None:
        assert all(block.ceiling is None for block in sharp.cross_attentions())
        assert "softmax stays" in reason  # no channel of the keys is free
        return
    assert any(block.ceiling is not None for block in sharp.cross_attentions())
    assert "each row's are lowered" in reason
    assert not any(block.has_maximum for block in sharp.cross_attentions())
    assert all(block.ceiling is None for block in rule.with_maximum(sharp).cross_attentions())
    for inputs in inputs_of_all_kinds():
        got = execute(single(sharp), inputs, dtype=tf.float32)
        assert np.isfinite(got).all()
        assert relative_l2(got, execute(rule.with_maximum(sharp), inputs)) < 1e-3
    assert "softmax stays" in over_the_limit(lowered, 1.01)[1]


@pytest.mark.parametrize("form", ["row by row", "token by token", "line by line"])
def test_lowered_scores_give_the_same_in_every_form(form, plain, execute, relative_l2, monkeypatch):
    monkeypatch.setattr(rule, "FEW_ROWS", 1 if form == "row by row" else 10**6)
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", 4 if form == "line by line" else 10**6)
    lowered, _ = lower(plain(input_shape=(6, 8), depth=2, **ABSORBED_HEADS))
    assert all(block.is_by_line == (form == "line by line") for block in lowered.cross_attentions())
    low = map_blocks(lowered, lambda b: replace(b, ceiling=0.5) if isinstance(b, CrossAttention) else b)
    inputs = np.random.default_rng(1).standard_normal((3, 6, 8, 3))
    mask = np.random.default_rng(2).random((3, 6, 8)) < 0.5
    mask[1] = False
    mask[2] = np.arange(48).reshape(6, 8) == 17
    for mask_or_none in (None, mask):
        expected = execute(rule.with_maximum(lowered), inputs, mask_or_none)
        assert relative_l2(execute(low, inputs, mask_or_none), expected) < 1e-9


def test_a_row_that_all_tokens_point_away_from_fades_by_more_than_a_gate_lets_pass(plain, execute, relative_l2):
    """One colour everywhere, so strong that positions drown: every score is the same, and for some row far below 0."""
    lowered, _ = lower(plain(input_shape=(6, 8), depth=1, **ABSORBED))
    sharp, _ = over_the_limit(lowered, 0.99)
    (block,) = sharp.cross_attentions()
    assert block.ceiling is not None
    errors = []
    for colour in np.random.default_rng(0).standard_normal((8, 3)):
        inputs = np.tile(1e6 * colour, (1, 6, 8, 1))
        got = execute(single(sharp), inputs, dtype=tf.float32)
        assert np.isfinite(got).all()
        errors.append(relative_l2(got, execute(rule.with_maximum(sharp), inputs)))
    assert max(errors) > 10 * FLOAT_TOLERANCE


def with_means(program, mean):
    """The same function: a normalised token sums to 0, so what all channels of a query have in common scores 0."""

    def rewrite(block):
        if not isinstance(block, CrossAttention):
            return block
        query = block.query
        return replace(
            block, query=Linear(query.weight + mean, query.bias) if isinstance(query, Linear) else query + mean
        )

    return map_blocks(program, rewrite)


@pytest.mark.parametrize("few", [1, 10**6], ids=["row by row", "token by token"])
def test_a_mean_of_the_weights_fades_no_row(few, plain, execute, relative_l2, monkeypatch):
    """Without positions the mean stays in the weights: `fold_centring` does not apply."""
    monkeypatch.setattr(rule, "FEW_ROWS", few)
    options = {"input_axis": 1, "input_channels": 12, "fourier_encode_data": False} | ABSORBED_HEADS
    lowered, decisions = lower(plain(input_shape=(48,), depth=2, **options))
    assert not {decision.rule: decision for decision in decisions}["fold_centring"].applied
    sharp, _ = over_the_limit(with_means(lowered, 100.0), 0.99)
    assert all(block.ceiling is not None for block in sharp.cross_attentions()[1:])
    inputs = np.random.default_rng(0).standard_normal((2, 48, 12))
    expected = execute(rule.with_maximum(sharp), inputs)
    assert relative_l2(execute(single(sharp), inputs, dtype=tf.float32), expected) < 1e-3
    with_its_means = with_means(sharp, 100.0)
    assert relative_l2(execute(rule.with_maximum(with_its_means), inputs), expected) < 1e-9
    assert relative_l2(execute(single(with_its_means), inputs, dtype=tf.float32), expected) > 0.01


def test_with_a_mask_scores_that_could_overflow_keep_their_maximum(lowered):
    masked = replace(lowered, with_mask=True)
    sharp, reason = over_the_limit(masked, 0.99)
    assert all(block.ceiling is None for block in sharp.cross_attentions())
    assert any(block.has_maximum for block in sharp.cross_attentions())
    assert "softmax stays" in reason


def test_one_token_that_is_left_is_attended_to_up_to_the_limit(lowered, execute, relative_l2):
    """However far its scores are below 0."""
    sharp = up_to_the_limit(lowered)
    inputs = 100 * np.random.default_rng(0).standard_normal((48, 6, 8, 3))
    mask = np.eye(48, dtype=bool).reshape(48, 6, 8)
    got = execute(single(sharp), inputs, mask, dtype=tf.float32)
    assert relative_l2(got, execute(rule.with_maximum(sharp), inputs, mask)) < 1e-5


def test_a_context_without_a_shared_normalisation_has_no_proof(plain):
    program = plain(input_shape=(6, 8), **ABSORBED)
    unchanged, decision = rule.drop_maximum(program)
    assert unchanged is program
    assert not decision.applied


def test_a_sample_that_is_masked_fully_attends_uniformly(lowered, execute, relative_l2):
    inputs = np.random.default_rng(1).standard_normal((3, 6, 8, 3))
    mask = np.random.default_rng(2).random((3, 6, 8)) < 0.5
    mask[1] = False
    expected = execute(rule.with_maximum(lowered), inputs, mask)
    assert relative_l2(execute(lowered, inputs, mask), expected) < 1e-9


def test_scores_of_a_constant_query_are_no_product_with_weights(plain):
    """For a converter a product with a constant on its right is a layer, which a quantiser would take."""
    from perceiver_edge.converters.onnx.convert import to_onnx
    from perceiver_edge.converters.onnx.graph import onnx_sites
    from perceiver_edge.converters.tflite.convert import to_tflite
    from perceiver_edge.converters.tflite.graph import tflite_sites
    from perceiver_edge.converters.trace import trace

    program = LoweredPerceiver.in_single_precision(lower(plain(input_shape=(6, 8), **ABSORBED))[0]).program
    assert any(not isinstance(block.query, Linear) for block in program.cross_attentions())
    assert all(rule.is_by_token(block, program.extents()[0]) for block in program.cross_attentions())
    given = {"inputs": {"input": ((1, 6, 8, 3), tf.float32)}, "output_name": "logits"}
    traced, whole = (trace(LoweredPerceiver(of), **given) for of in (program, rule.with_maximum(program)))
    assert set(onnx_sites(to_onnx(traced).graph)) == set(onnx_sites(to_onnx(whole).graph))
    assert set(tflite_sites(to_tflite(traced))) == set(tflite_sites(to_tflite(whole)))
