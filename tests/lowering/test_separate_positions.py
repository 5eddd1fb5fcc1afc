"""Positions of a grid, axis by axis: the same tokens from fewer numbers, whoever made the positions."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.lowering import lower
from perceiver_edge.lowering.separate_positions import moments, separate_positions, separated
from perceiver_edge.lowering.source import AxisPositions

GRIDS = [((6, 8), 2), ((3, 4, 5), 3)]


@pytest.mark.parametrize(("shape", "axes"), GRIDS)
def test_fourier_positions_are_separable(shape, axes, plain):
    (source,) = plain(input_shape=shape, input_axis=axes).sources
    positions = separated(source)
    assert [len(table) for table in positions.tables] == list(shape)
    assert positions.channels == source.positions.shape[1]
    np.testing.assert_array_equal(positions.whole(), source.positions)


def test_their_moments_are_sums_over_the_axes(plain):
    (source,) = plain(input_shape=(6, 8)).sources
    scale = moments(separated(source))
    mean, square = (sum(part.reshape(s) for part, s in zip(m, ((6, 1), (1, 8)), strict=True)).reshape(-1)
                    for m in (scale.mean, scale.square))  # fmt: skip
    np.testing.assert_allclose(mean, source.positions.mean(axis=1))
    np.testing.assert_allclose(square - mean**2, source.positions.var(axis=1))


@pytest.mark.parametrize(
    "changed",
    [
        lambda table: table + np.random.default_rng(0).standard_normal(table.shape),  # learned
        lambda table: table[:, ::-1],  # the second axis first
        lambda table: np.where(np.arange(len(table))[:, None] == 7, table + 1e-12, table),  # but for one token
    ],
)
def test_others_stay_a_table(changed, plain):
    program = plain(input_shape=(6, 8))
    (source,) = program.sources
    program = replace(program, sources=(replace(source, positions=changed(source.positions)),))
    unchanged, decision = separate_positions(program)
    assert unchanged is program
    assert not decision.applied


def test_one_axis_has_nothing_to_separate(plain):
    unchanged, decision = separate_positions(plain(input_shape=(9,), input_axis=1))
    assert not decision.applied
    assert isinstance(unchanged.sources[0].positions, np.ndarray)


@pytest.mark.parametrize(("shape", "axes"), GRIDS)
def test_the_lowered_program_keeps_few_numbers_and_computes_the_same(shape, axes, plain, execute, relative_l2):
    program = plain(input_shape=shape, input_axis=axes)
    lowered, decisions = lower(program)
    (source,) = lowered.sources
    assert isinstance(source.positions, AxisPositions)
    assert {decision.rule: decision for decision in decisions}["separate_positions"].applied
    inputs = np.random.default_rng(0).standard_normal((2, *source.shape))
    assert relative_l2(execute(lowered, inputs), execute(program, inputs)) < 1e-9
