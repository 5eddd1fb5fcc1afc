"""Rounding weights so that each makes good what those before it lost, on inputs that the product really gets.

Rounded each on its own, the errors of a row of weights add up at random. Here the weights of one input channel after
the other are rounded, given all that was rounded before: with H = XᵀX of the inputs X, and H = V Vᵀ with V upper
triangular, the error is |X (w - q)|² = |Vᵀ (w - q)|², whose row i has no weight beyond i. Each row is made as small as
a whole number makes it. That is GPTQ (Frantar et al. 2023, arXiv:2210.17323) written as Babai's nearest plane (Chen et
al. 2025, arXiv:2507.18553). Latents are alike from input to input, so a few inputs tell where products really move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

Inputs = Mapping[str, NDArray[np.float32]]
"""What products are fed, ``[rows, in]`` by site."""

MOST = 127
DAMPING = 0.1
"""Of the mean square of an input channel: one that is nearly silent here may speak elsewhere, and makes good little."""

_BLOCK = 64
"""Channels whose losses stay in a cache while they are rounded: 1,280 of 1,280 weights take 0.09 s instead of 4."""


def inputs_of(names: Iterable[str], inputs: Inputs) -> NDArray[np.float32] | None:
    """What the products that share a weight are fed, ``[rows, in]``; None where nothing is known of any of them.

    Args:
        names: of their sites, in any order: a sum of floats depends on its order, and one step decides the next.
    """
    known = [inputs[name] for name in sorted(names) if name in inputs]
    return np.concatenate(known) if known else None


def rounded(
    weight: NDArray[np.floating], scale: NDArray[np.floating], inputs: NDArray[np.float32], *,
    largest_pair: int = 2 * MOST,
) -> NDArray[np.int8]:  # fmt: skip
    """``weight / scale`` in whole numbers, with ``inputs @ weight`` as near to exact as one pass finds.

    Args:
        weight: ``[in, out]``.
        scale: the step of each output channel, ``[out]``.
        inputs: ``[rows, in]``.
        largest_pair: what two neighbours of one sign, the channels 2i and 2i + 1 of the input, may add up to.
    """
    steps = (weight / scale).astype(np.float32)
    makes_good = _makes_good(inputs)
    whole, lost = np.zeros_like(steps), np.zeros_like(steps)
    for start in range(0, len(steps), _BLOCK):
        before = makes_good[start : start + _BLOCK, :start] @ lost[:start]  # one product for many channels
        for index, owed in enumerate(before, start):
            wanted = steps[index] + owed + makes_good[index, start:index] @ lost[start:index]
            neighbour = _neighbour(index, steps, whole)
            whole[index] = np.clip(np.rint(wanted), *_room(neighbour, largest_pair))
            lost[index] = steps[index] - whole[index]
    return whole.astype(np.int8)


def _makes_good(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of what channel k lost channel i > k has to make good, ``[i, k]``: V[k, i] / V[i, i]."""
    alike = (inputs.T @ inputs).astype(np.float64)
    alike[np.diag_indices_from(alike)] += DAMPING * alike.diagonal().mean() + np.finfo(np.float32).tiny
    upper = np.linalg.cholesky(alike[::-1, ::-1])[::-1, ::-1]
    return np.ascontiguousarray((upper / upper.diagonal()).T, dtype=np.float32)


def _neighbour(index: int, steps: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    """The other weight of the pair that kernels add: the one before, or one to come, as it would be rounded alone."""
    if index % 2:
        return whole[index - 1]
    return np.rint(steps[index + 1]) if index + 1 < len(steps) else np.zeros_like(steps[index])


def _room(neighbour: NDArray[np.float32], largest_pair: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest weight beside this neighbour."""
    least = np.maximum(-MOST, -largest_pair - np.minimum(neighbour, 0))
    return least, np.minimum(MOST, largest_pair - np.maximum(neighbour, 0))
