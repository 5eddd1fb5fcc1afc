"""Every form of a program computes what the reference computes: perceiver-pytorch's own outputs, in float64 to 1e-9."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.config import PRESETS
from perceiver_edge.lowering import RULES, lower, plain_program
from perceiver_edge.lowering.absorb import absorb_keys, without_keys, without_values
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.fold_first_query import fold_first_query
from perceiver_edge.lowering.program import CrossAttention, map_blocks
from perceiver_edge.lowering.share_context import share_context

PREFIXES = range(len(RULES) + 1)


def name_of(prefix):
    return "plain" if prefix == 0 else RULES[prefix - 1].__name__


def of_golden(case):
    return plain_program(case.config, case.weights, case.inputs.shape[1:-1])


def shared(program):
    """Folded and shared: where absorption may begin."""
    return share_context(fold_affine(program)[0])[0]


def on_cross_attends(program, rewrite):
    """Apply a rewrite whatever the cost model thinks of it."""
    return map_blocks(program, lambda block: rewrite(block) if isinstance(block, CrossAttention) else block)


@pytest.mark.parametrize("prefix", PREFIXES, ids=name_of)
def test_after_every_rule_of_the_schedule(golden_case, prefix, execute, relative_l2):
    program = of_golden(golden_case)
    for rule in RULES[:prefix]:
        program, _ = rule(program)
    assert relative_l2(execute(program, golden_case.inputs, golden_case.mask), golden_case.output) < 1e-9


@pytest.mark.parametrize(
    "rewrite",
    [without_keys, without_values, lambda block: without_values(without_keys(block))],
    ids=["keys", "values", "keys_and_values"],
)
def test_absorption_whether_it_pays_or_not(golden_case, rewrite, execute, relative_l2):
    program = on_cross_attends(
        shared(of_golden(golden_case)), lambda block: block if block.is_inverted else rewrite(block)
    )
    assert relative_l2(execute(program, golden_case.inputs, golden_case.mask), golden_case.output) < 1e-9


@pytest.mark.parametrize("form", [lambda program: program, lambda program: lower(program)[0]], ids=["plain", "lowered"])
def test_in_float32(golden_case, form, execute, relative_l2):
    output = execute(form(of_golden(golden_case)), golden_case.inputs, golden_case.mask, dtype=tf.float32)
    assert output.dtype == np.float32
    assert relative_l2(output, golden_case.output) < 1e-5


@pytest.mark.parametrize("rules", list(permutations(RULES, 2)), ids=lambda rules: "-".join(r.__name__ for r in rules))
def test_rules_in_any_order(rules, plain, execute, relative_l2):
    """A rule checks its own precondition, so that no order can make it wrong; the schedule is only about what pays."""
    program = plain(cross_heads=2, cross_dim_head=40, latent_heads=3, depth=3, weight_tie_layers=True)
    random = np.random.default_rng(1)
    inputs, mask = random.standard_normal((2, 3, 4, 3)), random.random((2, 3, 4)) < 0.6
    expected = execute(program, inputs, mask)
    for rule in rules:
        program, _ = rule(program)
    assert relative_l2(execute(program, inputs, mask), expected) < 1e-9
    lowered, decisions = lower(program)
    assert any(decision.applied for decision in decisions)
    assert relative_l2(execute(lowered, inputs, mask), expected) < 1e-9


@pytest.mark.parametrize("heads", [1, 3])
def test_absorbing_into_a_first_query_that_is_constant_already(heads, plain, execute, relative_l2):
    program = plain(cross_heads=heads, cross_dim_head=40)
    inputs = np.random.default_rng(2).standard_normal((2, 3, 4, 3))
    expected = execute(program, inputs)
    for rule in (fold_affine, share_context, fold_first_query, absorb_keys):
        program, decision = rule(program)
        assert decision.applied
    assert relative_l2(execute(program, inputs), expected) < 1e-9


def test_a_first_layer_that_runs_again_keeps_its_query_there(plain, execute, relative_l2):
    """No checkpoint ties the first layer, so the rule meets this case only here."""
    once = plain(depth=1)
    program = replace(once, stacks=(replace(once.encoder, layers=once.encoder.layers * 3),))
    inputs = np.random.default_rng(3).standard_normal((2, 3, 4, 3))
    expected = execute(program, inputs)
    lowered, _ = lower(program)
    assert lowered.encoder.layers[1] is lowered.encoder.layers[2]
    assert relative_l2(execute(lowered, inputs), expected) < 1e-9


@pytest.mark.parametrize("preset", ["tiny", pytest.param("readme", marks=pytest.mark.slow)])
def test_presets(preset, random_weights, execute, relative_l2):
    """Too large to store outputs for: compared with the Keras reference, itself held to perceiver-pytorch."""
    from perceiver_edge import Perceiver

    config, spec = PRESETS[preset]
    weights = random_weights(config)
    inputs = np.random.default_rng(4).standard_normal((1, *spec.shape, config.input_channels))
    model = Perceiver(**config.to_dict(), dtype="float64")
    model.load_named_weights(weights)
    expected = np.array(model(inputs))
    lowered, _ = lower(plain_program(config, weights, spec.shape))
    assert relative_l2(execute(lowered, inputs), expected) < 1e-9
    assert relative_l2(execute(lowered, inputs, dtype=tf.float32), expected) < 1e-5


def test_golden_weights_leave_no_term_untested(golden_case):
    """Guards the golden files: with γ = 1, β = 0 or b = 0, dropping a term would go unseen."""
    vectors = {name: weight for name, weight in golden_case.weights.items() if weight.ndim == 1}
    assert any("norm" in name for name in vectors)
    for name, vector in vectors.items():
        assert np.any(vector != 0), name
        assert np.any(vector != 1), name
