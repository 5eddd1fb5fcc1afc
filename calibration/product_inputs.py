"""What products with weights are fed: a few rows of each, for rounding their weights by."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.observe import Taps
from perceiver_edge.calibration.samples import Sample

SAMPLES, ROWS = 8, 128
"""Of 8 samples 128 rows each; 64 samples are no better (docs/performance.md), and take eight times as long."""


def product_inputs(taps: Taps, samples: Iterable[Sample]) -> dict[str, NDArray[np.float32]]:
    """``[rows, in]`` by site, the rows drawn from the first samples; nothing where there are no samples.

    Args:
        taps: as for `observe`.
    """
    rows: dict[str, list[NDArray[np.float32]]] = {}
    for index, sample in enumerate(islice(samples, SAMPLES)):
        random = np.random.default_rng(index)
        for name, values in taps({key: array[np.newaxis] for key, array in sample.items()}).items():
            if name.endswith(".input"):
                flat = values.reshape(-1, values.shape[-1])
                drawn = random.choice(len(flat), min(ROWS, len(flat)), replace=False)
                rows.setdefault(name.removesuffix(".input"), []).append(flat[drawn])
    return {site: np.concatenate(parts) for site, parts in rows.items()}
