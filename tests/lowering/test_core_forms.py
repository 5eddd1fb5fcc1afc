"""Each cross-attend tells its form and the reason for it, once, and those that are alike together."""

from dataclasses import replace

import pytest

from perceiver_edge.lowering import drop_maximum as rule
from perceiver_edge.lowering import lower, take_lines
from perceiver_edge.lowering.core_forms import core_forms
from perceiver_edge.lowering.program import CrossAttention, map_blocks

ABSORBED = {"cross_heads": 1, "cross_dim_head": 40, "depth": 3, "input_shape": (6, 8)}


def told(program):
    return [(decision.applied, *decision.reason.split(": ", 1)) for decision in core_forms(program)]


def test_few_scores_keep_softmax_and_are_told_of_together(plain):
    program, _ = lower(plain(**ABSORBED))
    names = ", ".join(f"layers.{index}.cross_attn" for index in range(3))
    scores = program.extents()[0].rows * 48
    assert told(program) == [
        (False, names, f"softmax, because its {scores:,} scores are few: another form would gain nothing")
    ]


@pytest.mark.parametrize(("shortest_line", "way"), [(4, ", line by line"), (10**6, ", token by token")])
def test_forms_without_a_maximum_say_by_which_proof(shortest_line, way, plain, monkeypatch):
    monkeypatch.setattr(rule, "CHUNK_BYTES", 1 << 9)
    monkeypatch.setattr(rule, "FEW_ROWS_BYTES", 1 << 9)
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", shortest_line)
    program, _ = lower(plain(**ABSORBED))
    assert all(applied and f"without softmax's maximum{way}" in reason for applied, _, reason in told(program))
    assert "no input can give a score over" in told(program)[0][2]
    lowered = map_blocks(program, lambda b: replace(b, ceiling=1.0) if isinstance(b, CrossAttention) else b)
    assert "each row's scores are lowered by what its own query allows" in told(lowered)[0][2]


def test_weights_that_allow_too_much_are_named_as_the_reason(plain, monkeypatch):
    monkeypatch.setattr(rule, "largest_exponent", lambda block, extent: -rule.reserve(extent))
    monkeypatch.setattr("perceiver_edge.lowering.core_forms.largest_exponent", rule.largest_exponent)
    program, _ = lower(plain(**ABSORBED))
    assert "softmax, because its weights allow scores up to" in told(program)[0][2]


def test_nothing_bounds_scores_of_tokens_that_each_layer_normalises_itself(plain):
    ((_, _, reason), *_) = told(plain(**ABSORBED))
    assert reason.endswith("so that nothing bounds its scores")
