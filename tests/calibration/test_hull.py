"""Ranges of averages get room, but never more than averages can use."""

import pytest

from perceiver_edge.calibration import Range, give_room
from perceiver_edge.calibration.hull import MARGIN


def roomy(own: Range, hull: Range) -> Range:
    return give_room({"a.output.input": own, "a.output.hull": hull, "a.output.output": own})["a.output.input"]


def test_the_range_widens_by_the_margin_on_both_sides():
    assert roomy(Range(-1.0, 3.0), Range(-100.0, 100.0)) == Range(-1.0 - 4 * MARGIN, 3.0 + 4 * MARGIN)


def test_the_hull_bounds_the_room():
    assert roomy(Range(-1.0, 1.0), Range(-1.5, 1.2)) == Range(-1.5, 1.2)


def test_a_hull_that_a_percentile_has_cut_never_narrows_what_was_seen():
    assert roomy(Range(-1.0, 1.0), Range(-0.5, 0.5)) == Range(-1.0, 1.0)


@pytest.mark.parametrize("name", ["a.output.output", "b.up.input"])
def test_other_points_are_as_observed_and_hulls_are_no_points(name):
    own = Range(-1.0, 2.0)
    observed = {name: own, "a.output.input": own, "a.output.hull": Range(-9.0, 9.0)}
    ranges = give_room(observed)
    assert ranges[name] == own
    assert set(ranges) == {name, "a.output.input"}
