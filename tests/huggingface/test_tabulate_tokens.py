"""Keys and values of texts from tables: the same function, masked or not, and only where it pays."""

import sys
from dataclasses import replace

import pytest

from perceiver_edge.lowering import lower
from perceiver_edge.lowering.absorb import without_keys, without_values
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.program import CrossAttention, Linear, TokenTables, map_stack
from perceiver_edge.lowering.share_context import share_context
from perceiver_edge.lowering.tabulate_tokens import tabulate_tokens

RULE = sys.modules[tabulate_tokens.__module__]
TEXTS = ("masked_lm", "masked_lm_all_masked", "masked_lm_other_heads", "sequence_classification", "masked_lm_positions")


@pytest.fixture
def of_any_size(monkeypatch):
    monkeypatch.setattr(RULE, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(RULE, "MOST_SHARE", 1e9)


def shared(program):
    return share_context(fold_affine(program)[0])[0]


@pytest.mark.usefixtures("of_any_size")
@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_answered_alike(name, named_case, plain, run, error):
    case = named_case(name)
    program = plain(case)
    tabulated, decision = tabulate_tokens(shared(program))
    assert decision.applied, decision
    assert isinstance(tabulated.encoder.context_norm, TokenTables)
    (block,) = tabulated.encoder.cross_attentions()
    assert block.key.bias is None and block.value.bias is None
    assert error(run(tabulated, case), run(program, case)) < 1e-12
    assert error(run(lower(tabulated, optimize_for="memory")[0], case), run(program, case)) < 1e-12


@pytest.mark.usefixtures("of_any_size")
def test_absorbed_or_with_biases_tables_are_still_the_context(named_case, plain, run, error):
    case = named_case("masked_lm")
    program = shared(plain(case))
    tabulated, _ = tabulate_tokens(program)
    wanted = run(program, case)

    def absorbed(block):
        return without_values(without_keys(block)) if isinstance(block, CrossAttention) else block

    def biased(block):
        if not isinstance(block, CrossAttention):
            return block
        return replace(block, key=Linear(block.key.weight, 3.0 + block.key.weight[0]))

    for change in (absorbed, biased):
        encoder = map_stack(tabulated.encoder, change)
        assert error(run(replace(tabulated, stacks=(encoder, *tabulated.stacks[1:])), case), wanted) < 1e-12


@pytest.mark.parametrize(
    ("name", "reason"),
    [("fourier", "tokens are not the sum"), ("multimodal", "tokens are not the sum"), ("masked_lm", "fewer than")],
)
def test_other_tokens_and_small_ones_are_left_alone(name, reason, named_case, plain):
    program = shared(plain(named_case(name)))
    same, decision = tabulate_tokens(program)
    assert same is program and not decision.applied
    assert reason in decision.reason


def test_tables_that_are_large_beside_the_model_are_not_made(named_case, plain, monkeypatch):
    monkeypatch.setattr(RULE, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(RULE, "MOST_SHARE", -1.0)
    program = shared(plain(named_case("masked_lm")))
    assert tabulate_tokens(program)[0] is program


@pytest.mark.usefixtures("of_any_size")
def test_not_twice_and_not_before_the_context_is_shared(named_case, plain):
    program = plain(named_case("masked_lm"))
    assert not tabulate_tokens(program)[1].applied
    once, _ = tabulate_tokens(shared(program))
    assert tabulate_tokens(once)[0] is once
