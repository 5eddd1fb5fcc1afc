"""A grid's tokens line by line: the same result from fewer channels, where lines are long enough."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.lowering import drop_maximum, lower, take_lines
from perceiver_edge.lowering.drop_maximum import with_maximum
from perceiver_edge.lowering.integer_core import Bound, with_integer_cores
from perceiver_edge.lowering.source import AxisPositions

GRIDS = [((6, 8), 2), ((3, 4, 5), 3)]
ABSORBED = {"cross_heads": 1, "cross_dim_head": 40, "depth": 2}
ABSORBED_HEADS = {"cross_heads": 3, "cross_dim_head": 40, "depth": 2}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(drop_maximum, "CHUNK_BYTES", 256)
    monkeypatch.setattr(drop_maximum, "FEW_ROWS_BYTES", 256)
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", 4)


@pytest.fixture(params=[ABSORBED, ABSORBED_HEADS], ids=["1 head", "3 heads"])
def heads(request):
    return request.param


@pytest.mark.parametrize("shape", [shape for shape, _ in GRIDS])
def test_it_computes_the_same(shape, heads, plain, execute, relative_l2):
    program = plain(input_shape=shape, input_axis=len(shape), **heads)
    lowered, decisions = lower(program)
    assert {decision.rule: decision for decision in decisions}["take_lines"].applied
    assert all(block.is_by_line and block.chunks > 1 for block in lowered.cross_attentions())
    inputs = 3 * np.random.default_rng(0).standard_normal((2, *program.sources[0].shape))
    assert relative_l2(execute(lowered, inputs), execute(program, inputs)) < 1e-9
    mask = np.random.default_rng(1).random((2, *shape)) < 0.5
    mask[1] = False
    assert relative_l2(execute(lowered, inputs, mask), execute(with_maximum(lowered), inputs, mask)) < 1e-9


@pytest.mark.parametrize(("shape", "axes"), GRIDS)
def test_chunks_are_of_whole_lines(shape, axes, plain):
    lowered, _ = lower(plain(input_shape=shape, input_axis=axes, **ABSORBED))
    lines = int(np.prod(shape[:-1]))
    assert all(lines % block.chunks == 0 for block in lowered.cross_attentions())


def test_short_lines_one_axis_and_kept_softmax_stay_as_they_are(plain, monkeypatch):
    def reason(**options):
        program, decisions = lower(plain(**(ABSORBED | options)))
        assert not any(block.is_by_line for block in program.cross_attentions())
        (decision,) = (decision for decision in decisions if decision.rule == "take_lines")
        assert not decision.applied
        return decision.reason

    assert "3 tokens" in reason(input_shape=(8, 3))
    assert "no grid" in reason(input_shape=(48,), input_axis=1)
    monkeypatch.setattr(drop_maximum, "CHUNK_BYTES", 1 << 30)
    monkeypatch.setattr(drop_maximum, "FEW_ROWS_BYTES", 1 << 30)
    assert "without a maximum" in reason(input_shape=(6, 8))


def test_beside_an_integer_core_tokens_are_in_the_order_of_its_chunks(plain, execute, relative_l2):
    lowered, _ = lower(plain(input_shape=(6, 8), **ABSORBED))
    encoder, extent = lowered.encoder, lowered.extents()[0]
    first = lowered.cross_attentions()[0]
    bound = drop_maximum.largest_score(first, encoder, extent)
    name = next(name for name, block in encoder.named_blocks() if block is first)
    given = {name: Bound(np.full(extent.rows, bound), 1.0, 1.0)}
    mixed = with_integer_cores(lowered, given, exponential="elu")
    assert [block.core is None for block in mixed.cross_attentions()] == [False, True]
    assert not any(block.is_by_line for block in mixed.cross_attentions())
    inputs = np.random.default_rng(0).standard_normal((1, *lowered.sources[0].shape))
    assert relative_l2(execute(mixed, inputs), execute(lowered, inputs)) < 1e-9


def test_padding_that_is_kept_apart_is_not_lost(plain, monkeypatch):
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", 1 << 10)
    lowered, _ = lower(plain(input_shape=(6, 8), **ABSORBED))
    (source,) = lowered.sources
    *others, last = source.positions.tables
    apart = replace(source, positions=AxisPositions((*others, last[:, :-1])), padding=last[0, -1:])
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", 4)
    assert take_lines.take_lines(lowered)[1].applied
    assert not take_lines.take_lines(replace(lowered, sources=(apart,)))[1].applied


def test_lines_that_cannot_be_divided_are_not_taken_one_by_one(plain, execute, relative_l2):
    program = plain(input_shape=(67, 8), **(ABSORBED | {"depth": 1}))
    lowered, _ = lower(program)
    (block,) = lowered.cross_attentions()
    assert (block.chunks, block.is_by_line) == (8, False)
    inputs = np.random.default_rng(0).standard_normal((1, *program.sources[0].shape))
    assert relative_l2(execute(lowered, inputs), execute(program, inputs)) < 1e-9
