"""What rules promise beyond being exact: a true account of themselves, nothing done twice, tied layers kept tied."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.lowering import RULES, lower
from perceiver_edge.lowering.absorb import absorb_keys, absorb_values
from perceiver_edge.lowering.balance_heads import balance_heads
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.fold_centring import fold_centring
from perceiver_edge.lowering.fold_first_query import fold_first_query
from perceiver_edge.lowering.fuse_qkv import fuse_qkv
from perceiver_edge.lowering.program import Linear, Norm, SelfAttention, map_blocks, scaled
from perceiver_edge.lowering.share_context import share_context

WIDE_HEAD, NARROW_HEAD = {"cross_dim_head": 40}, {"cross_dim_head": 2, "input_channels": 20}


def after(program, *rules):
    for rule in rules:
        program, decision = rule(program)
        assert decision.applied, decision
    return program


@pytest.mark.parametrize(
    ("rule", "before", "config", "reason"),
    [
        (fold_affine, [fold_affine], {}, "no affine and no score scale is left to fold"),
        (share_context, [], {}, "a context norm still has an affine of its own"),
        (share_context, [fold_affine, share_context], {}, "the context is shared already"),
        (fold_centring, [fold_affine], {}, "the context is not shared yet"),
        (fold_centring, [fold_affine, share_context, fold_centring], {}, "the context is not centred any more"),
        (
            fold_centring,
            [fold_affine, share_context],
            {"fourier_encode_data": False},
            "tokens have no positions: their statistics need all channels",
        ),
        (
            fold_centring,
            [fold_affine, share_context, absorb_values],
            WIDE_HEAD,
            "keys or values are absorbed already",
        ),
        (absorb_keys, [], WIDE_HEAD, "the context is not shared yet"),
        (absorb_values, [fold_affine], WIDE_HEAD, "the context is not shared yet"),
        (
            absorb_keys,
            [fold_affine, share_context, absorb_keys],
            WIDE_HEAD,
            "no cross-attend has a key projection that can be absorbed",
        ),
        (
            absorb_values,
            [fold_affine, share_context, absorb_values],
            WIDE_HEAD,
            "no cross-attend has a value projection that can be absorbed",
        ),
        (fold_first_query, [fold_first_query], {}, "the first query is a constant already"),
        (balance_heads, [balance_heads], {}, "no self-attend has separate projections to balance"),
        (balance_heads, [fuse_qkv], {}, "no self-attend has separate projections to balance"),
        (fuse_qkv, [fuse_qkv], {}, "no self-attend has separate projections"),
        (fuse_qkv, [], {"self_per_cross_attn": 0}, "no self-attend has separate projections"),
    ],
)
def test_a_rule_that_cannot_apply_returns_the_program_itself_and_says_why(rule, before, config, reason, plain):
    program = after(plain(**config), *before)
    unchanged, decision = rule(program)
    assert unchanged is program
    assert decision.rule == rule.__name__
    assert (decision.applied, decision.reason) == (False, reason)


@pytest.mark.parametrize("config", [WIDE_HEAD, NARROW_HEAD], ids=["absorbed", "not_absorbed"])
def test_lowering_twice_changes_nothing_and_says_so(config, plain):
    lowered, first = lower(plain(**config))
    again, second = lower(lowered)
    assert again is lowered
    assert [decision.rule for decision in first] == [rule.__name__ for rule in RULES]
    assert any(decision.applied for decision in first)
    assert not any(decision.applied for decision in second)
    assert all(decision.reason for decision in first + second)


@pytest.mark.parametrize("config", [WIDE_HEAD, NARROW_HEAD], ids=["absorbed", "not_absorbed"])
def test_tied_layers_stay_one_object_after_every_rule(config, plain, traced):
    program = plain(**config, depth=4, weight_tie_layers=True)
    shallow = plain(**config, depth=2, weight_tie_layers=True)
    for rule in RULES:
        program, shallow = rule(program)[0], rule(shallow)[0]
        assert program.encoder.layers[1] is program.encoder.layers[2] is program.encoder.layers[3]
    assert traced(program).constants == traced(shallow).constants


def test_untied_layers_have_constants_of_their_own(plain, traced):
    assert traced(lower(plain(depth=4))[0]).constants > traced(lower(plain(depth=2))[0]).constants


def test_tied_layers_project_a_shared_context_once(plain, traced):
    """Their own context norms are equal, but only sharing makes the normalised context one tensor."""
    tied = plain(**NARROW_HEAD, depth=4, weight_tie_layers=True)
    shared = after(tied, fold_affine, share_context)
    once = tied.tokens * tied.context_channels * 2 * tied.encoder.layers[0].blocks[0][1].heads * 2  # keys and values
    assert traced(tied).macs - traced(shared).macs == 2 * once  # of four layers, three are tied


def test_without_centring_tokens_times_channels_are_made_once(plain):
    """Put together, already divided by σ; everything else is tokens × the data's, or the positions', channels."""
    program = after(plain(), fold_affine, share_context, fold_centring)
    graph = (
        tf.function(LoweredPerceiver(program), autograph=False)
        .get_concrete_function(tf.TensorSpec((1, *program.sources[0].shape), tf.float32))
        .graph
    )
    whole = (1, program.tokens, program.context_channels)
    made = [op.type for op in graph.get_operations() if op.outputs and op.outputs[0].shape == whole]
    assert made == ["ConcatV2"]


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_without_centring_float32_is_as_good(offset, plain, execute, relative_l2):
    program = after(plain(), fold_affine, share_context)
    folded = after(program, fold_centring)
    inputs = offset + np.random.default_rng(5).standard_normal((2, 3, 4, 3))
    expected = execute(program, inputs)
    assert relative_l2(execute(folded, inputs, dtype=tf.float32), expected) < 1e-5


def test_layers_that_share_a_projection_share_its_centred_form(plain):
    program = after(plain(depth=4, weight_tie_layers=True), fold_affine, share_context, fold_centring)
    assert len({id(block.key) for block in program.cross_attentions()}) == 2


def test_folding_leaves_no_affine_and_no_scale(plain):
    program = after(plain(cross_heads=2), fold_affine)
    for layer in program.encoder.layers:
        for _, block in layer.blocks:
            assert block.norm.gamma is None
            assert getattr(block, "context_norm", None) is None or block.context_norm.gamma is None
            assert getattr(block, "scale", 1.0) == 1.0
    assert program.output.norm.gamma is None


def test_folding_counts_what_it_removes(plain):
    # A layer normalises for the cross-attend (latents, context), the self-attend and two feed-forwards; plus the head.
    _, decision = fold_affine(plain(depth=3))
    assert decision.reason == "removes 16 affines of normalisations and 6 scalings of scores"


def test_folding_a_bias_of_zeros_makes_no_bias(plain):
    """A Perceiver that was never trained has β = 0: no addition of nothing for each of its projections."""
    program = plain()
    norm = Norm(program.output.norm.gamma, np.zeros_like(program.output.norm.beta))
    program = replace(
        program, output=replace(program.output, norm=norm, projection=Linear(program.output.projection.weight))
    )
    assert after(program, fold_affine).output.projection.bias is None


def test_folding_the_first_query_leaves_the_first_attend_constant_but_for_the_context(plain):
    program = plain(depth=2)
    folded = after(program, fold_first_query)
    first, second = folded.cross_attentions()
    assert isinstance(first.query, np.ndarray) and first.output.bias is None
    assert np.array_equal(folded.encoder.rows, program.encoder.rows + program.cross_attentions()[0].output.bias)
    assert second is program.cross_attentions()[1]


def test_a_rule_does_not_touch_its_input(plain, execute):
    program, inputs = plain(**WIDE_HEAD), np.ones((1, 3, 4, 3))
    before = execute(program, inputs)
    lower(program)
    assert np.array_equal(execute(program, inputs), before)


def test_queries_keys_and_values_are_balanced_whatever_they_were(plain):
    def uneven(block):
        if not isinstance(block, SelfAttention):
            return block
        query, key, value = block.projections
        return replace(block, projections=(scaled(query, 1e-3), scaled(key, 7.0), scaled(value, 50.0)))

    program = after(plain(latent_heads=2, latent_dim_head=4), fold_affine)
    balanced, _ = balance_heads(map_blocks(program, uneven))
    blocks = [block for _, block in balanced.named_blocks() if isinstance(block, SelfAttention)]
    assert blocks
    for block in blocks:
        query, key, value = (
            np.sqrt((linear.weight**2).sum(axis=0) + (0 if linear.bias is None else linear.bias**2))
            for linear in block.projections
        )
        assert np.allclose(query, key)
        assert np.isclose(value.max(), query.max())
