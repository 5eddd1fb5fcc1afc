import dataclasses
import math

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE, cosine, measure, relative_l2, sqnr_db

REFERENCE = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)


def test_numbers_by_hand():
    m = measure([[3.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [3.0, 4.0]], is_classifier=True, labels=[0, 0])
    assert m.max_abs_error == 3.0
    assert m.relative_l2 == pytest.approx(3 / 5)
    assert m.sqnr_db == pytest.approx(20 * math.log10(5 / 3))
    assert (m.cosine, m.cosine_min) == (pytest.approx((1 + 0.8) / 2), pytest.approx(0.8))
    # Deviations from the mean over samples: r ±(1.5, -2), a ±(0, -2).
    assert m.sensitivity_ratio == pytest.approx(2 / 2.5)
    assert m.centred_cosine == pytest.approx(4 / (2.5 * 2))
    assert (m.top1_agreement, m.near_ties, m.accuracy, m.reference_accuracy) == (1.0, 0, 0.5, 0.5)


def test_equal_outputs_are_perfect():
    m = measure(REFERENCE, REFERENCE, is_classifier=True)
    assert (m.max_abs_error, m.relative_l2, m.sqnr_db, m.top1_agreement) == (0.0, 0.0, math.inf, 1.0)
    assert (m.cosine, m.sensitivity_ratio, m.centred_cosine) == pytest.approx((1.0, 1.0, 1.0))


def test_collapsed_model_has_a_high_cosine_and_no_sensitivity():
    reference = 10.0 + 0.5 * REFERENCE
    collapsed = np.broadcast_to(reference.mean(axis=0), reference.shape)
    m = measure(reference, collapsed, is_classifier=False)
    assert m.cosine > 0.99
    assert m.sensitivity_ratio < 1e-6
    assert abs(m.centred_cosine) < 0.01


def test_variation_unrelated_to_the_input_has_no_centred_cosine():
    m = measure(REFERENCE, REFERENCE[::-1], is_classifier=False)
    assert m.sensitivity_ratio == pytest.approx(1.0)
    assert abs(m.centred_cosine) < 0.3


def test_latents_of_any_rank_are_flattened_per_sample():
    flat = measure(REFERENCE, REFERENCE + 0.1, is_classifier=False)
    shaped = measure(REFERENCE.reshape(20, 2, 5), REFERENCE.reshape(20, 2, 5) + 0.1, is_classifier=False)
    assert shaped == dataclasses.replace(flat, worst_output=None)
    assert shaped.top1_agreement is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_non_finite_output_makes_every_number_nan(bad):
    actual = REFERENCE.copy()
    actual[3, 2] = bad
    values = dataclasses.asdict(measure(REFERENCE, actual, is_classifier=True, labels=np.zeros(20, int)))
    assert values.pop("worst_output") is None
    counts = {values.pop("num_samples"), values.pop("near_ties")}
    assert counts == {20, 0}
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    "reference",
    [REFERENCE[:1], np.tile(REFERENCE[:1], (5, 1)), np.tile(1e4 + REFERENCE[:1], (5, 1)) * (1 + 1e-8)],
    ids=["one sample", "constant", "constant but for rounding"],
)
def test_sensitivity_to_an_input_that_changes_nothing_is_not_measurable(reference):
    m = measure(reference, reference, is_classifier=True)
    assert math.isnan(m.sensitivity_ratio)
    assert math.isnan(m.centred_cosine)
    assert m.relative_l2 == 0.0


def test_zero_reference():
    zero = np.zeros((3, 4))
    same, other = measure(zero, zero, is_classifier=False), measure(zero, zero + 1, is_classifier=False)
    assert (same.relative_l2, same.sqnr_db, same.cosine) == (0.0, math.inf, 1.0)
    assert (other.relative_l2, other.sqnr_db, other.cosine) == (math.inf, -math.inf, 0.0)


def test_all_zero_output_agrees_with_nothing():
    m = measure(REFERENCE, np.zeros_like(REFERENCE), is_classifier=False)
    assert (m.cosine, m.relative_l2, m.sensitivity_ratio, m.centred_cosine) == (0.0, 1.0, 0.0, 0.0)


def test_a_choice_between_classes_float32_cannot_tell_apart_agrees():
    # Norm of the centred logits is about 1, so the tolerance is about 1.4e-4.
    tie = [[0.7, 0.7 - 0.5 * FLOAT_TOLERANCE, -0.7, -0.7]] * 2
    swapped = [[0.7, 0.7 + FLOAT_TOLERANCE, -0.7, -0.7]] * 2
    m = measure(tie, swapped, is_classifier=True)
    assert (m.top1_agreement, m.near_ties) == (1.0, 2)


def test_a_near_tie_does_not_excuse_a_third_class_nor_a_wider_margin():
    tie = [[0.7, 0.7 - 0.5 * FLOAT_TOLERANCE, -0.7, -0.7]] * 2
    assert measure(tie, [[0.0, 0.0, 1.0, 0.0]] * 2, is_classifier=True).top1_agreement == 0.0
    wider = [[0.7, 0.7 - 5 * FLOAT_TOLERANCE, -0.7, -0.7]] * 2
    assert measure(wider, [[0.6, 0.7, -0.7, -0.7]] * 2, is_classifier=True).top1_agreement == 0.0


def test_a_common_offset_does_not_widen_a_tie():
    wider = np.array([[0.7, 0.7 - 5 * FLOAT_TOLERANCE, -0.7, -0.7]] * 2) + 1e3
    assert measure(wider, wider[:, [1, 0, 2, 3]], is_classifier=True).top1_agreement == 0.0


def test_float64_inside():
    large = np.full((2, 3), 3e38, np.float32)
    large[1] *= 0.5
    m = measure(large, large, is_classifier=False)
    assert (m.relative_l2, m.cosine) == (0.0, pytest.approx(1.0))


@pytest.mark.parametrize(
    ("reference", "actual", "labels", "is_classifier", "says"),
    [
        (REFERENCE, REFERENCE[:5], None, True, "different shapes"),
        (REFERENCE[:0], REFERENCE[:0], None, True, "no outputs"),
        (REFERENCE[0], REFERENCE[0], None, False, "no outputs"),
        (REFERENCE * np.nan, REFERENCE, None, True, "sample 0"),
        (REFERENCE.reshape(20, 2, 5), REFERENCE.reshape(20, 2, 5), None, True, "not a classifier"),
        (REFERENCE, REFERENCE, np.full(20, 10), True, "0 to 9"),
        (REFERENCE, REFERENCE, np.zeros(19, int), True, "labels do not fit"),
        (REFERENCE, REFERENCE, np.zeros(20), True, "labels do not fit"),
        (REFERENCE, REFERENCE, np.zeros(20, int), False, "Only a classifier"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, actual, labels, is_classifier, says):
    with pytest.raises(BadInputError, match=says):
        measure(reference, actual, is_classifier=is_classifier, labels=labels)


def test_single_array_metrics():
    r, a = np.array([[3.0, 4.0]]), np.array([[3.0, 3.5]])
    assert relative_l2(r, a) == pytest.approx(0.1)
    assert sqnr_db(r, a) == pytest.approx(20.0)
    assert cosine(r, -r) == pytest.approx(-1.0)


def test_logits_within_one_step_of_an_int8_output_are_a_tie():
    reference = np.array([[0.0, 10.0, 9.98, -10.0]] * 4)
    other_first = reference[:, [0, 2, 1, 3]]
    assert measure(reference, other_first, is_classifier=True).top1_agreement == 0.0
    tied = measure(reference, other_first, is_classifier=True, output_step=0.078)
    assert (tied.top1_agreement, tied.near_ties) == (1.0, 4)
    clear = np.array([[0.0, 10.0, 9.9, -10.0]] * 4)
    assert measure(clear, clear[:, [0, 2, 1, 3]], is_classifier=True, output_step=0.078).top1_agreement == 0.0
