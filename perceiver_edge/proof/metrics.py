"""How far an artefact's outputs are from the float reference's: numbers only, no verdict (that is `judgement`).

Everything is computed in float64. With r the reference, a the artefact, i a sample, and r̄, ā the means over samples:

===================  ========================================================================================
max_abs_error        max |a − r|
relative_l2          ‖a − r‖ / ‖r‖, over all samples together
cosine, cosine_min   mean and minimum over samples of aᵢ·rᵢ / (‖aᵢ‖‖rᵢ‖)
sqnr_db              20·log₁₀(‖r‖ / ‖a − r‖), the signal to quantisation noise ratio
sensitivity_ratio    ‖a − ā‖ / ‖r − r̄‖: does the output still vary with the input as much as the reference's?
reference_variation  ‖r − r̄‖ / ‖r‖: how much there is to be sensitive to
centred_cosine       (a − ā)·(r − r̄) / (‖a − ā‖‖r − r̄‖): does it vary in the same direction?
top1_agreement       share of samples in which both choose the same class (see `top1_agreement` for near-ties)
===================  ========================================================================================

The three that take the mean out exist because a collapsed model, whose output is the same for every input, can have a
high cosine.
What cannot be measured is NaN, and a gate on NaN fails: it never means "fine".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.outputs import CONSTANT_TOLERANCE, WorstOutput, worst_output

FLOAT_TOLERANCE = 1e-4
"""Relative L2 within which two float32 implementations of one model count as equal. Reordered sums alone give about
1e-6; ten layers of them and a fused softmax stay under 1e-5; the rest is headroom."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """See the table above. `None` means not asked for (no classifier, no labels); NaN means not measurable.

    ``worst_output``: of a model whose outputs are values, each judged for itself (`outputs`).
    """

    num_samples: int
    max_abs_error: float
    relative_l2: float
    cosine: float
    cosine_min: float
    sqnr_db: float
    sensitivity_ratio: float
    centred_cosine: float
    reference_variation: float
    worst_output: WorstOutput | None = None
    top1_agreement: float | None = None
    near_ties: int | None = None
    accuracy: float | None = None
    reference_accuracy: float | None = None


def measure(
    reference: ArrayLike,
    actual: ArrayLike,
    *,
    is_classifier: bool,
    labels: ArrayLike | None = None,
    output_step: float = 0.0,
) -> Metrics:
    """Compare outputs ``[samples, classes]`` of a classifier, or ``[samples, ...]`` (latents, flattened per sample).

    ``output_step``: the scale of the artefact's quantised output, 0 for a float output; see `top1_agreement`.

    Degenerate cases: NaN or infinity in ``actual`` makes every number NaN. One sample, or a reference that does not
    vary over the samples, makes ``sensitivity_ratio`` and ``centred_cosine`` NaN. A reference of norm 0 gives a
    relative L2 of 0 if ``actual`` equals it and infinity if not.

    Raises:
        BadInputError: no samples, shapes that differ, a reference that is not finite, labels that do not fit.
    """
    r, a = _comparable(reference, actual)
    classes = _labels(labels, r, is_classifier=is_classifier)
    if not np.isfinite(a).all():
        return _unmeasurable(len(r), is_classifier=is_classifier, has_labels=classes is not None)
    r_flat, a_flat = r.reshape(len(r), -1), a.reshape(len(a), -1)
    cosines = _sample_cosines(r_flat, a_flat)
    ratio, centred = _sensitivity(r_flat, a_flat)
    agreement, near_ties = top1_agreement(r, a, output_step=output_step) if is_classifier else (None, None)
    are_values = not is_classifier and r.ndim == 2
    return Metrics(
        num_samples=len(r),
        worst_output=worst_output(r, a) if are_values else None,
        max_abs_error=float(np.max(np.abs(a_flat - r_flat), initial=0.0)),
        relative_l2=relative_l2(r_flat, a_flat),
        cosine=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        sqnr_db=sqnr_db(r_flat, a_flat),
        sensitivity_ratio=ratio,
        centred_cosine=centred,
        reference_variation=relative_l2(r_flat, np.broadcast_to(r_flat.mean(axis=0), r_flat.shape)),
        top1_agreement=agreement,
        near_ties=near_ties,
        accuracy=None if classes is None else float(np.mean(a.argmax(axis=1) == classes)),
        reference_accuracy=None if classes is None else float(np.mean(r.argmax(axis=1) == classes)),
    )


def relative_l2(reference: Float64, actual: Float64) -> float:
    """‖actual − reference‖ / ‖reference‖; NaN if ``actual`` is not finite, 0 or infinity if the reference is zero."""
    error, signal = float(np.linalg.norm(actual - reference)), float(np.linalg.norm(reference))
    if signal == 0.0:
        return 0.0 if error == 0.0 else float("nan") if np.isnan(error) else float("inf")
    return error / signal


def sqnr_db(reference: Float64, actual: Float64) -> float:
    """Signal to quantisation noise ratio in decibels; infinity if there is no error."""
    error = relative_l2(reference, actual)
    if error == 0.0:
        return float("inf")
    return -20.0 * float(np.log10(error))


def cosine(reference: Float64, actual: Float64) -> float:
    """Cosine of two flattened arrays: 1 if both are zero (they are equal), 0 if only one is."""
    return float(_sample_cosines(reference.reshape(1, -1), actual.reshape(1, -1))[0])


def top1_agreement(reference: Float64, actual: Float64, *, output_step: float = 0.0) -> tuple[float, int]:
    """Share of samples ``[samples, classes]`` in which the artefact chooses the reference's class; near-ties counted.

    Where the reference's own two classes are closer than float32 can tell apart, a different choice is no error: an
    equally exact float32 implementation may make it too. A per-sample error vector e with ‖e‖ ≤ ε‖c‖ moves a
    difference of two logits by at most √2·ε‖c‖; so the artefact's choice k agrees if r_top − r_k ≤ √2·ε‖c‖, with
    ε = `FLOAT_TOLERANCE` and c the logits less their mean over classes (argmax ignores a common offset).

    Two logits of the reference within one step of a quantised output can be the same number in the artefact, and which
    of them comes first is chance. Such a pair counts as tied too. Nothing else is granted for being int8.

    Returns:
        the share, and the number of samples that only agree because of a near-tie.
    """
    rows = np.arange(len(reference))
    best, chosen = reference.argmax(axis=1), actual.argmax(axis=1)
    spread = np.linalg.norm(reference - reference.mean(axis=1, keepdims=True), axis=1)
    margin = np.maximum(np.sqrt(2.0) * FLOAT_TOLERANCE * spread, output_step)
    is_tied = reference[rows, best] - reference[rows, chosen] <= margin
    return float(np.mean((best == chosen) | is_tied)), int(np.sum((best != chosen) & is_tied))


def _comparable(reference: ArrayLike, actual: ArrayLike) -> tuple[Float64, Float64]:
    r, a = np.asarray(reference, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if r.shape != a.shape:
        raise BadInputError("Outputs of different shapes cannot be compared.", expected=r.shape, got=a.shape)
    if r.ndim < 2 or r.size == 0:
        raise BadInputError("There are no outputs to compare.", expected="[samples, ...], not empty", got=r.shape)
    if not np.isfinite(r).all():
        sample = int(np.argwhere(~np.isfinite(r))[0][0])
        raise BadInputError(
            "The reference's output is not finite, so nothing can be proven against it.",
            expected="finite numbers",
            got="NaN or infinity",
            where=f"sample {sample}",
            fix="check the model's weights and the samples",
        )
    return r, a


def _labels(labels: ArrayLike | None, reference: Float64, *, is_classifier: bool) -> NDArray[np.int64] | None:
    if is_classifier and reference.ndim != 2:
        raise BadInputError("These are not a classifier's outputs.", expected="[samples, classes]", got=reference.shape)
    if labels is None:
        return None
    if not is_classifier:
        raise BadInputError("Only a classifier has an accuracy.", expected="no labels", got="labels")
    values = np.asarray(labels)
    num_samples, num_classes = reference.shape
    fits = values.shape == (num_samples,) and np.issubdtype(values.dtype, np.integer)
    if not (fits and values.min() >= 0 and values.max() < num_classes):
        raise BadInputError(
            "The labels do not fit the outputs.",
            expected=f"{num_samples} integers from 0 to {num_classes - 1}",
            got=f"{values.dtype} of shape {values.shape}" + (f", {values.min()} to {values.max()}" if fits else ""),
        )
    return values.astype(np.int64)


def _sample_cosines(r: Float64, a: Float64) -> Float64:
    r_norm, a_norm = np.linalg.norm(r, axis=1), np.linalg.norm(a, axis=1)
    product = r_norm * a_norm
    safe = np.where(product == 0.0, 1.0, product)
    return np.where(product == 0.0, (r_norm == a_norm).astype(np.float64), np.sum(r * a, axis=1) / safe)


def _sensitivity(r: Float64, a: Float64) -> tuple[float, float]:
    r_moves, a_moves = r - r.mean(axis=0), a - a.mean(axis=0)
    r_spread, a_spread = float(np.linalg.norm(r_moves)), float(np.linalg.norm(a_moves))
    if len(r) < 2 or r_spread <= CONSTANT_TOLERANCE * float(np.linalg.norm(r)):
        return float("nan"), float("nan")
    if a_spread == 0.0:
        return 0.0, 0.0
    return a_spread / r_spread, float(np.sum(r_moves * a_moves)) / (r_spread * a_spread)


def _unmeasurable(num_samples: int, *, is_classifier: bool, has_labels: bool) -> Metrics:
    nan = float("nan")
    return Metrics(
        num_samples=num_samples,
        max_abs_error=nan,
        relative_l2=nan,
        cosine=nan,
        cosine_min=nan,
        sqnr_db=nan,
        sensitivity_ratio=nan,
        centred_cosine=nan,
        reference_variation=nan,
        top1_agreement=nan if is_classifier else None,
        near_ties=0 if is_classifier else None,
        accuracy=nan if has_labels else None,
        reference_accuracy=nan if has_labels else None,
    )
