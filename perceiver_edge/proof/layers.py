"""Errors layer by layer: where in an artefact an error enters, and whether one layer alone computes what it should."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof import metrics


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """One named tensor of the artefact against the reference's, over all samples together."""

    name: str
    relative_l2: float
    sqnr_db: float
    cosine: float


def layer_errors(reference: Mapping[str, ArrayLike], actual: Mapping[str, ArrayLike]) -> tuple[LayerError, ...]:
    """Errors of the tensors that both sides have, in the reference's order.

    A tensor only one side has is left out: a converter may fuse it away.

    Raises:
        BadInputError: no name in common, or a tensor whose two shapes differ.
    """
    shared = [name for name in reference if name in actual]
    if not shared:
        raise BadInputError(
            "The reference and the artefact have no layer in common.", expected=list(reference), got=list(actual)
        )
    return tuple(_layer_error(name, reference[name], actual[name]) for name in shared)


def _layer_error(name: str, reference: ArrayLike, actual: ArrayLike) -> LayerError:
    r, a = np.asarray(reference, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if r.shape != a.shape:
        raise BadInputError("A layer's two outputs differ in shape.", expected=r.shape, got=a.shape, where=name)
    if not (np.isfinite(r).all() and np.isfinite(a).all()):
        return LayerError(name=name, relative_l2=math.nan, sqnr_db=math.nan, cosine=math.nan)
    return LayerError(
        name=name,
        relative_l2=metrics.relative_l2(r, a),
        sqnr_db=metrics.sqnr_db(r, a),
        cosine=metrics.cosine(r, a),
    )
