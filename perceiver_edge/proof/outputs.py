"""Are the outputs of a model scores of classes, which are compared with each other, or values, each for itself?

A classifier's scores share a unit, and what matters is which of them is largest. Outputs of a regression have units of
their own: an error that is nothing to one may be all of another. So each of them is judged alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TASKS = ("classification", "regression")

UNLIKE_UNITS = 10.0
"""Extents over samples of one classifier's scores differ by up to 4 among the trained models that were measured."""

LOST_STEPS = 3.0
"""Of the 255 steps of an int8 scale that all outputs share: one that spans fewer is lost to it."""

MOST_VALUES = 64
"""Outputs of a regression. Of a thousand scores of classes some vary little by chance."""

CONSTANT_TOLERANCE = 1e-6
"""A spread below this share of an output's size (8 float32 ulp) is rounding: the output is constant."""


def task_of(outputs: ArrayLike, *, has_labels: bool) -> str:
    """What a model with outputs ``[samples, outputs]`` is for, where nobody has said it: one of `TASKS`.

    Labels make a classifier. Without them a single output is a value, and so are few outputs of unlike units, one of
    which an int8 scale of all would lose.
    """
    values = np.asarray(outputs, dtype=np.float64)
    if has_labels or values.shape[1] > MOST_VALUES:
        return "classification"
    if values.shape[1] == 1:
        return "regression"
    extents = np.ptp(values, axis=0)[varying(values)]
    step = (max(values.max(), 0.0) - min(values.min(), 0.0)) / 255
    is_lost = len(extents) > 1 and extents.min() < LOST_STEPS * step and extents.max() > UNLIKE_UNITS * extents.min()
    return "regression" if is_lost else "classification"


def varying(outputs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the outputs ``[samples, outputs]`` are no constants: ``[outputs]``."""
    return outputs.std(axis=0) > CONSTANT_TOLERANCE * np.abs(outputs).max(axis=0, initial=0)


@dataclass(frozen=True, kw_only=True)
class WorstOutput:
    """The output that follows its reference least.

    ``index``: which, from 0. ``sensitivity_ratio``, ``centred_cosine``: as of all outputs together (`metrics`).
    """

    index: int
    sensitivity_ratio: float
    centred_cosine: float


def worst_output(reference: NDArray[np.float64], actual: NDArray[np.float64]) -> WorstOutput | None:
    """Of outputs ``[samples, outputs]``, constants aside; None where all of them are, or there is one sample."""
    indices = np.flatnonzero(varying(reference))
    if len(reference) < 2 or not len(indices):
        return None
    r, a = (values[:, indices] - values[:, indices].mean(axis=0) for values in (reference, actual))
    r_norm, a_norm = np.linalg.norm(r, axis=0), np.linalg.norm(a, axis=0)
    products = np.sum(r * a, axis=0)
    cosines = np.divide(products, r_norm * a_norm, out=np.zeros_like(products), where=a_norm > 0)
    worst = int(np.argmax(np.linalg.norm(a - r, axis=0) / r_norm))
    return WorstOutput(
        index=int(indices[worst]), sensitivity_ratio=float(a_norm[worst] / r_norm[worst]),
        centred_cosine=float(cosines[worst]),
    )  # fmt: skip
