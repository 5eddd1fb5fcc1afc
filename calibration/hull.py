"""Room for averages: ranges of points whose values are convex combinations of something else.

What a cross-attend returns is an average of tokens, weighted by a softmax whose rows sum to 1, so it can never leave
the range of the tokens, their *hull*. A diffuse attention averages thousands of tokens: its result moves little, and
with every input. A range observed on a few samples clips the next one (at 64x64 that was most of the README model's
int8 error), while the hull itself would waste most of the 255 steps on a signal that is small.
"""

from __future__ import annotations

from collections.abc import Mapping

from perceiver_edge.calibration.quant_params import Range

HULL_SUFFIX = ".hull"
MARGIN = 1.0
"""How far beyond the observed range, in widths of it, a new sample may reach. At 1 an amplitude of three times the
observed one is kept, for 1.6 of the 8 bits; within the hull, where more is impossible, for less."""


def give_room(observed: Mapping[str, Range]) -> dict[str, Range]:
    """Widen ``<site>.input`` by `MARGIN` within ``<site>.hull``, and drop the hulls."""
    ranges = {name: value for name, value in observed.items() if not name.endswith(HULL_SUFFIX)}
    for name, hull in observed.items():
        if name.endswith(HULL_SUFFIX):
            point = name.removesuffix(HULL_SUFFIX) + ".input"
            own = observed[point]
            room = MARGIN * (own.max - own.min)
            # A percentile of the tokens may cut closer than the averages reach: never narrower than what was seen.
            low, high = min(own.min, max(hull.min, own.min - room)), max(own.max, min(hull.max, own.max + room))
            ranges[point] = Range(low, high)
    return ranges
