"""Layers that run several times with the same weights: one range for all uses of a product.

What an engine packs of an int8 product's weights has the scales and zero points of its input and output in it. With
one range for all uses, one packing serves them all: XNNPACK's weight cache then holds weights that 8 blocks share once,
where it would compute nonsense, and int32 biases are stored once. It costs nothing: for a Perceiver of 48 layers with
the weights of 6 the relative error is 0.030 instead of 0.032, as normalised rows have much the same range everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from perceiver_edge.calibration.quant_params import Range


def one_range_for_all_uses(points: Mapping[str, Range], repeated: Mapping[str, str]) -> dict[str, Range]:
    """The ranges, of points that differ only in which use of a layer they are of the same one, that holds all.

    Args:
        points: by name: ``<layer>.<block>.<product>.input`` or ``….output``.
        repeated: the name of a layer that is another one once more → that one's name.
    """
    shared: dict[str, Range] = {}
    firsts = {name: first_use(name, repeated) for name in points}
    for name, values in points.items():
        seen = shared.get(firsts[name], values)
        shared[firsts[name]] = Range(min(seen.min, values.min), max(seen.max, values.max))
    return {name: shared[first] for name, first in firsts.items()}


def first_use(name: str, repeated: Mapping[str, str]) -> str:
    """``layers.7.self_attn.2`` → ``layers.1.self_attn.2``, where layer 7 is layer 1 once more."""
    layer = ".".join(name.split(".")[:2])
    return repeated.get(layer, layer) + name.removeprefix(layer)
