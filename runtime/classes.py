"""From logits to what a person reads: the likeliest classes, by name, with their probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perceiver_edge.errors import BadInputError


class Guess(NamedTuple):
    """One class: its name (its number where names are unknown), its probability in [0, 1], its place in the logits."""

    name: str
    probability: float
    index: int  # type: ignore[assignment]  # more use here than a tuple's method of that name


def likeliest(logits: np.ndarray, k: int, class_names: tuple[str, ...] | None) -> list[Guess]:
    """The ``k`` likeliest classes of logits ``[classes]``, likeliest first; all where there are fewer.

    Raises:
        BadInputError: not the logits of one sample, logits that have no greatest, or names that are not as many.
    """
    if logits.ndim != 1 or not np.issubdtype(logits.dtype, np.floating):
        raise BadInputError(
            "Only the logits of one sample have likeliest classes.",
            expected="floating point [classes]",
            got=f"{logits.dtype} {list(logits.shape)}",
            fix="call the runner itself, and take from its output what you need",
        )
    if class_names is not None and len(class_names) != len(logits):
        raise BadInputError(
            "The class names are not as many as the logits.", expected=len(logits), got=f"{len(class_names)} names"
        )
    greatest = logits.max(initial=-np.inf)
    if not np.isfinite(greatest):  # a class of minus infinity has no chance, but one has to have one
        raise BadInputError(
            "The logits have no likeliest class.", expected="at least one, of numbers less than infinity",
            got=f"{len(logits)} logits, the greatest {greatest}",
        )  # fmt: skip
    exponentials = np.exp(logits.astype(np.float64) - greatest)
    probabilities = exponentials / exponentials.sum()
    # Stable, so that of equal logits the first class comes first, as with argmax.
    order = np.argsort(-logits, kind="stable")[: max(k, 0)]
    return [
        Guess(class_names[index] if class_names else str(index), float(probabilities[index]), int(index))
        for index in order
    ]
