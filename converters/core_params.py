"""What converters know of the int8 forms of attention (`perceiver_edge.lowering.integer_core`, `row_core`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perceiver_edge.errors import ConversionError

ROW_SCOPE = "row_core"
"""What the names of operators of attention among rows have in them (`lowering.row_attention`)."""


@dataclass(frozen=True)
class Affine:
    """``real = scale * (quantised - zero_point)``, quantised in int8."""

    scale: float
    zero_point: int = 0


@dataclass(frozen=True)
class CoreParams:
    """How the activations of one core are quantised.

    ``keys`` and ``values``, with their channels of ones, have the zero point 0. ``scores`` and ``weights`` are what the
    exponential is read from and what it gives. ``weighted`` and ``total`` are one chunk's weighted sum of values and
    its sum of weights.
    """

    query: Affine
    keys: Affine
    values: Affine
    scores: Affine
    weights: Affine
    weighted: Affine
    total: Affine


@dataclass(frozen=True)
class RowParams:
    """How the activations of attention among rows are quantised (`perceiver_edge.lowering.row_core`).

    Queries, keys and values are those of their product, with the zero point 0. ``shift`` is how values
    are quantised, where something is taken from them: it and what is left are in the same steps, so that it is exact.
    """

    scores: Affine
    weights: Affine
    weighted: Affine
    shift: Affine | None


def core_name(scoped: str) -> str:
    """``layers.3.cross_attn/integer_core/Elu_2`` → ``layers.3.cross_attn``."""
    return scoped.split("/", 1)[0]


def require_cores(found: Iterable[str], expected: Iterable[str], artefact: str) -> None:
    """Raise `ConversionError` unless exactly the expected cores were found."""
    found, expected = set(found), set(expected)
    if found != expected:
        raise ConversionError(
            f"The {artefact} model does not have the attention cores that were calibrated.",
            expected=", ".join(sorted(expected)) or "none", got=", ".join(sorted(found)) or "none",
        )  # fmt: skip


def require_sum(is_found: bool, values: str, artefact: str) -> None:
    """Raise `ConversionError` unless the sum of a core's values reads what they were rounded to."""
    if not is_found:
        raise ConversionError(
            f"The {artefact} model does not sum up the values of an attention core as the core reads them.",
            expected="a sum of the tensor that the weights are multiplied with", where=values,
            fix="try other versions of TensorFlow and tf2onnx: what they make of the graph has changed",
        )  # fmt: skip
