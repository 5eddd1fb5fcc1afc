"""Of layers that run several times, all uses of a product have one range."""

from __future__ import annotations

from perceiver_edge.calibration import Range, one_range_for_all_uses


def test_all_uses_have_the_range_that_holds_them_and_the_others_their_own():
    points = {
        "layers.0.ff.up.input": Range(-9.0, 9.0),
        "layers.1.ff.up.input": Range(-1.0, 2.0),
        "layers.1.ff.up.output": Range(0.0, 1.0),
        "layers.2.ff.up.input": Range(-3.0, 1.0),
        "layers.10.ff.up.input": Range(-2.0, 5.0),
        "decoder.0.ff.up.input": Range(-7.0, 7.0),
        "classifier.input": Range(-4.0, 4.0),
    }
    repeated = {"layers.2": "layers.1", "layers.10": "layers.1"}
    shared = one_range_for_all_uses(points, repeated)
    assert list(shared) == list(points)
    assert {shared[f"layers.{i}.ff.up.input"] for i in (1, 2, 10)} == {Range(-3.0, 5.0)}
    assert {name: values for name, values in points.items() if "up.input" not in name} == {
        name: values for name, values in shared.items() if "up.input" not in name
    }
    assert shared["layers.0.ff.up.input"] == points["layers.0.ff.up.input"]
    assert one_range_for_all_uses(points, {}) == points
