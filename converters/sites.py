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
    return (np.float32(low), np.float32(high)) if low != 0 or high != 0 else (np.float32(-128), np.float32(127))
