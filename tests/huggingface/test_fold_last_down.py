"""The last feed-forward at the output: the same answers from fewer multiplications, and only where many rows answer."""

import sys
from dataclasses import replace

import pytest

from perceiver_edge.lowering import lower
from perceiver_edge.lowering.fold_affine import fold_affine
from perceiver_edge.lowering.fold_last_down import fold_last_down
from perceiver_edge.lowering.program import FeedForward

RULE = sys.modules[fold_last_down.__module__]


@pytest.fixture
def of_any_size(monkeypatch):
    monkeypatch.setattr(RULE, "LEAST_SAVED", -(1 << 60))


@pytest.mark.usefixtures("of_any_size")
@pytest.mark.parametrize("name", ["masked_lm", "masked_lm_all_masked", "flow", "fourier", "multimodal"])
def test_answers_are_the_same(name, named_case, plain, run, error):
    case = named_case(name)
    program = plain(case)
    for optimize_for in ("latency", "memory"):
        folded, decisions = lower(program, optimize_for=optimize_for)
        assert next(d for d in decisions if d.rule == "fold_last_down").applied
        assert not any(isinstance(block, FeedForward) for _, block in folded.stacks[-1].layers[-1].blocks)
        assert error(run(folded, case), run(program, case)) < 1e-12
        assert fold_last_down(folded)[0] is folded


@pytest.mark.usefixtures("of_any_size")
def test_biases_that_are_not_there_are_none(named_case, plain, run, error):
    case = named_case("masked_lm")
    program, _ = fold_affine(plain(case))
    output = replace(program.output, projection=replace(program.output.projection, bias=None))
    program = replace(program, output=output)
    assert error(run(fold_last_down(program)[0], case), run(program, case)) < 1e-12


@pytest.mark.parametrize(("name", "reason"), [("fourier", "fewer than"), ("masked_lm", "fewer than")])
def test_few_answers_are_left_alone(name, reason, named_case, plain):
    program = plain(named_case(name))
    same, decision = fold_last_down(program)
    assert same is program and reason in decision.reason


@pytest.mark.usefixtures("of_any_size")
def test_an_output_that_is_normalised_is_left_alone(named_case, plain):
    program = plain(named_case("masked_lm"))
    (_, block) = program.stacks[-1].layers[-1].blocks[-1]
    for changed in (replace(program.output, norm=block.norm), replace(program.output, is_mean=True)):
        same, decision = fold_last_down(replace(program, output=changed))
        assert same.output is changed and not decision.applied
