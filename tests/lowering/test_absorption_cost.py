"""The cost model: against numbers worked out by hand, and against the matrix products that really run."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.checkpoints import expected_shapes
from perceiver_edge.config import PRESETS
from perceiver_edge.lowering import lower, plain_program
from perceiver_edge.lowering.absorb import absorb_keys, absorb_values, absorption_cost, without_keys, without_values
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.program import CrossAttention, map_blocks
from perceiver_edge.lowering.share_context import share_context


def shared(program):
    return share_context(fold_affine(program)[0])[0]


@pytest.fixture
def one_cross_attend():
    """The README model's first layer without its self-attend; some fields replaced. Only its sizes matter."""

    def make(**changes):
        config, spec = PRESETS["readme"]
        config = replace(config, **{"depth": 1, "self_per_cross_attn": 0, **changes})
        weights = {name: np.ones(shape, np.float32) for name, shape in expected_shapes(config).items()}
        return plain_program(config, weights, spec.shape)

    return make


def test_readme_model_by_hand(one_cross_attend):
    program = one_cross_attend()
    assert (program.tokens, program.context_channels, program.encoder.rows.shape) == (50_176, 29, (256, 512))
    cost = absorption_cost(program.extents()[0], heads=1, head_channels=64, uses=1)
    # Project 50,176 tokens from 29 to 64; 256 queries on 50,176 keys of 64; 256 latents from 512 to 64.
    assert cost.before_macs == 93_126_656 + 822_083_584 + 8_388_608
    # 256 queries on 50,176 tokens of 29; 256 latents from 512 to 29.
    assert cost.after_macs == 372_506_624 + 3_801_088


def test_readme_model_absorbs_keys_and_values_and_says_why(one_cross_attend):
    lowered, decisions = lower(one_cross_attend())
    reasons = {decision.rule: decision.reason for decision in decisions if decision.applied}
    numbers = "923,598,848 MACs plain, 376,307,712 absorbed"
    assert reasons["absorb_keys"] == f"1 of 1 distinct key projections: {numbers}"
    assert reasons["absorb_values"] == f"1 of 1 distinct value projections: {numbers}"
    assert lowered.cross_attentions()[0].key is lowered.cross_attentions()[0].value is None


def test_a_context_wider_than_the_head_keeps_keys_and_values_and_says_why(one_cross_attend):
    program = shared(one_cross_attend(num_freq_bands=64, num_latents=512))
    assert program.context_channels == 261
    for rule, field in ((absorb_keys, "key"), (absorb_values, "value")):
        unchanged, decision = rule(program)
        assert unchanged is program
        numbers = "2,499,084,288 MACs plain, 6,773,538,816 absorbed"
        assert decision.reason == f"0 of 1 distinct {field} projections: {numbers}"


def test_layers_that_share_a_projection_share_its_cost(one_cross_attend):
    program = one_cross_attend()
    alone = absorption_cost(program.extents()[0], heads=1, head_channels=64, uses=1)
    shared_by_three = absorption_cost(program.extents()[0], heads=1, head_channels=64, uses=3)
    assert alone.before_macs - shared_by_three.before_macs == pytest.approx(93_126_656 * 2 / 3)
    assert alone.after_macs == shared_by_three.after_macs


@pytest.mark.parametrize(
    ("channels", "first_absorbed", "tied_absorbed"),
    [(4, True, True), (5, True, False), (11, True, False), (12, False, False)],
)
def test_tied_layers_are_decided_apart_from_the_first(channels, first_absorbed, tied_absorbed, plain):
    """12 tokens, 4 latents of 6 channels, a head of 4: C channels cost 72 C absorbed and 48 C / uses + 288 plain.

    The first layer, alone: 72 C < 48 C + 288 up to C = 11. Ten tied layers: 72 C < 4.8 C + 288 up to C = 4.
    """
    program = plain(depth=11, weight_tie_layers=True, fourier_encode_data=False, input_channels=channels)
    absorbed, _ = absorb_keys(shared(program))
    first, *tied = absorbed.cross_attentions()
    assert (first.key is None) == first_absorbed
    assert {block.key is None for block in tied} == {tied_absorbed}


@pytest.mark.parametrize(("rewrite", "field"), [(without_keys, "key"), (without_values, "value")])
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"cross_dim_head": 40},
        {"cross_dim_head": 2, "input_channels": 20},
        {"cross_heads": 3},
        {"depth": 5, "weight_tie_layers": True},
        {"depth": 4, "weight_tie_layers": True, "cross_heads": 2, "cross_dim_head": 40},
    ],
    ids=str,
)
def test_the_model_predicts_the_products_that_run(rewrite, field, config, plain, traced):
    program = shared(plain(**config))
    absorbed = map_blocks(program, lambda b: rewrite(b) if isinstance(b, CrossAttention) else b)
    blocks = program.cross_attentions()
    predicted = 0.0
    for block in blocks:
        linear = getattr(block, field)
        cost = absorption_cost(
            program.extents()[0],
            heads=block.heads,
            head_channels=linear.weight.shape[1] // block.heads,
            uses=sum(getattr(other, field) is linear for other in blocks),
        )
        predicted += cost.before_macs - cost.after_macs
    assert traced(program).macs - traced(absorbed).macs == pytest.approx(predicted)
