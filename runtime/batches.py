"""Many samples through a model of one fixed batch size."""

from collections.abc import Mapping

import numpy as np

from perceiver_edge.runtime.runner import Runner


def batch(inputs: Mapping[str, np.ndarray], start: int, size: int) -> dict[str, np.ndarray]:
    """``size`` of the samples ``[n, ...]`` from ``start``; past the end the last one is repeated."""
    last = len(next(iter(inputs.values()))) - 1
    rows = np.minimum(np.arange(start, start + size), last)
    return {name: np.ascontiguousarray(values[rows]) for name, values in inputs.items()}


def run_all(runner: Runner, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output ``[n, ...]`` of a model that has one, for n samples.

    Args:
        inputs: by name, ``[n, ...]``, at least one sample.
    """
    num_samples = len(next(iter(inputs.values())))
    results = [runner(batch(inputs, at, runner.batch_size)) for at in range(0, num_samples, runner.batch_size)]
    return np.concatenate([np.asarray(result) for result in results])[:num_samples]
