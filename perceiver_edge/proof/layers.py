"""Errors layer by layer: where in an artefact an error enters, and whether one layer alone computes what it should."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof import metrics

OUTPUT = "output"
"""The name of an artefact's own output among its layers: what follows the last product."""

Layers = dict[str, tuple[np.ndarray, np.ndarray]]
"""By layer, in order of execution: what it should give, and what it gave; of one shape each."""

ExpectLayers = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray], int], Layers]
"""From feeds ``[batch, ...]``, all that an artefact's products gave for them (by ``<site>.output``, and `OUTPUT`), and
the number of its runs that this took: what each layer should have made of what was given before it."""


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """What one layer, named by its site, gave against what the reference's gave, over all samples together.

    ``own``: relative L2 of what this layer made of its own inputs, against the model of its integers; None where there
    is no such model.
    """

    name: str
    relative_l2: float
    sqnr_db: float
    cosine: float
    own: float | None = None


@dataclass(frozen=True, kw_only=True)
class WorstLayer:
    """The layer that misses most what it should compute. ``error``: relative L2."""

    name: str
    error: float


def own_errors(layers: Layers) -> dict[str, float]:
    """Relative L2 of what each layer gave against what it should have given; NaN where that is not finite."""
    return {
        name: metrics.relative_l2(expected.astype(np.float64), given.astype(np.float64))
        for name, (expected, given) in layers.items()
    }


def worst_layer(errors: Mapping[str, float]) -> WorstLayer:
    """The first that is not a number, or the largest."""
    name = max(errors, key=lambda layer: math.inf if math.isnan(errors[layer]) else errors[layer])
    return WorstLayer(name=name, error=errors[name])


def layer_errors(
    reference: Mapping[str, ArrayLike], actual: Mapping[str, ArrayLike], *, own: Mapping[str, float] | None = None
) -> tuple[LayerError, ...]:
    """Errors of the layers that both sides have, by ``<site>.output``, in the reference's order.

    A layer that only one side has is left out: a converter may fuse it away. ``own``: of `own_errors`.

    Raises:
        BadInputError: no name in common, or a tensor whose two shapes differ.
    """
    shared = [name for name in reference if name in actual]
    if not shared:
        raise BadInputError(
            "The reference and the artefact have no layer in common.", expected=list(reference), got=list(actual)
        )
    return tuple(
        replace(_layer_error(_site(name), reference[name], actual[name]), own=(own or {}).get(_site(name)))
        for name in shared
    )


def _site(point: str) -> str:
    """``layers.0.cross_ff.up`` of ``layers.0.cross_ff.up.output``."""
    return point.removesuffix(".output")


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
