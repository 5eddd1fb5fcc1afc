"""Where the products with weights are in an artefact: site → tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from perceiver_edge.errors import ConversionError


@dataclass(frozen=True)
class Site:
    """One product with weights: the names of its tensors in one artefact, and its operator's place or name."""

    input: str
    weight: str
    output: str
    operator: str


def site_name(scoped: str) -> str:
    """``layers.0.cross_ff/layers.0.cross_ff.up/MatMul`` → ``layers.0.cross_ff.up`` (see `trace.Traced`)."""
    parts = scoped.split("/")
    matmul = next((i for i, part in enumerate(parts) if i and part.startswith("MatMul")), None)
    if matmul is None:
        raise ConversionError(
            "A product with weights is outside of a named scope.", expected="<site>/MatMul", got=scoped
        )
    return parts[matmul - 1]


def require_sites(found: Mapping[str, Site], expected: Iterable[str], artefact: str) -> None:
    """Raise `ConversionError` unless exactly the expected sites were found."""
    expected = set(expected)
    if missing := sorted(expected - set(found)):
        raise ConversionError(
            f"The {artefact} model lacks products that the traced model has.",
            expected=f"{len(expected)} products with weights", got="no " + ", ".join(missing),
        )  # fmt: skip
    if unknown := sorted(set(found) - expected):
        raise ConversionError(
            f"The {artefact} model has products without calibrated ranges.",
            expected="ranges for every product with weights", got="none for " + ", ".join(unknown),
            fix="calibrate this very model; do not mix calibration files",
        )  # fmt: skip


def scalable(low: float, high: float) -> tuple[np.float32, np.float32]:
    """The range that a quantiser is given: an activation of zeros only gets scale 1 and zero point 0 in both formats.

    Left to themselves the libraries differ, and a scale of 1e-12 makes the int32 bias overflow.
    """
    limits = np.float32(low), np.float32(high)
    return limits if any(limits) else (np.float32(-128), np.float32(127))


FINEST_SUM = 2.0**-20
"""Of a step of the output: what a step of a product's int32 sum need never be under. Biases that the output's range
holds then fit 28 bits, and a weight that rounds to nothing changes the output by under a thousandth of a step."""


def least_weight(before: tuple[float, float], after: tuple[float, float]) -> float:
    """What int8's 127 has to stand for at least in a channel of weights, for its bias to fit.

    A bias is stored in steps of input scale times weight scale. Channels of zeros, or nearly, have no scale of their
    own that says how fine that is: libraries take 1, in which the bias is lost, or next to nothing, and it overflows.

    Args:
        before, after: (min, max) of the product's input and output, as calibrated.
    """
    extents = [max(float(high), 0.0) - min(float(low), 0.0) for low, high in (scalable(*before), scalable(*after))]
    return 127 * FINEST_SUM * extents[1] / extents[0]
