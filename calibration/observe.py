"""Run the float model over samples and watch its quantisation points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.observers import MinMaxObserver, MseObserver, Observer, PercentileObserver
from perceiver_edge.calibration.quant_params import Range
from perceiver_edge.calibration.samples import Sample
from perceiver_edge.errors import BadInputError

Taps = Callable[[Sample], Mapping[str, NDArray[np.float32]]]

METHODS: dict[str, Callable[[], Observer]] = {
    "minmax": MinMaxObserver,
    "percentile": PercentileObserver,
    "mse": MseObserver,
}

DEFAULT_METHOD = "minmax"


def observe(
    taps: Taps,
    samples: Iterable[Sample],
    *,
    method: str = DEFAULT_METHOD,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Range]:
    """The range of every quantisation point over ``samples``, one sample in memory at a time.

    Args:
        taps: from a batch of one (every array [1, ...]) to the activations (any shape) by point name.
        samples: without batch dimension.
        method: a key of `METHODS`.
        on_progress: called after each sample with the number observed so far.

    Raises:
        BadInputError: unknown method, no samples, no points, an activation that is not finite or has no usable `Range`,
            points that come and go.
    """
    if method not in METHODS:
        raise BadInputError("Unknown calibration method.", expected=", ".join(METHODS), got=repr(method))
    observers: dict[str, Observer] | None = None
    for index, sample in enumerate(samples):
        activations = taps({name: values[np.newaxis] for name, values in sample.items()})
        if observers is None:
            observers = {name: METHODS[method]() for name in activations}
        if activations.keys() != observers.keys():
            changed = sorted(activations.keys() ^ observers.keys())
            raise BadInputError(
                "The quantisation points changed between samples.", got=", ".join(changed), where=f"sample {index}"
            )
        for name, values in activations.items():
            if not np.isfinite(values).all():
                raise BadInputError(
                    f"The activation {name!r} is not finite.",
                    expected="finite numbers",
                    got="NaN" if np.isnan(values).any() else "infinity",
                    where=f"sample {index}",
                    fix="Look for extreme values in this sample, or for a model that overflows in float32.",
                )
            observers[name].update(values)
        if on_progress is not None:
            on_progress(index + 1)
    if observers is None:
        raise BadInputError("There are no samples to calibrate with.", expected="at least one sample")
    if not observers:
        raise BadInputError("The model has nothing to calibrate.", expected="at least one quantisation point")
    return {name: _range_of(name, observer) for name, observer in observers.items()}


def _range_of(name: str, observer: Observer) -> Range:
    try:
        return observer.range()
    except BadInputError as error:
        raise BadInputError(
            f"The activation {name!r} cannot be calibrated.", got=error,
            fix="Look for extreme values in the samples, or for a model whose activations grow without bound.",
        ) from error  # fmt: skip
