"""Which file to ship, from the figures; and the figures from what was measured."""

import dataclasses
import re

import numpy as np
import pytest

from perceiver_edge.bundle.figures import Ratio, _ratio, advice, figures, in_mb, in_ms, latency_words, slower


def times(median_ms, samples_ms=()):
    return {"median_ms": median_ms, "p10_ms": median_ms, "p90_ms": median_ms, "samples_ms": samples_ms}


@pytest.fixture
def measured():
    return {
        "digits_fp32.tflite": times(4.0, [4.0, 4.2, 8.0, 4.0]),
        "digits_int8.tflite": times(2.0, [2.0, 2.0, 4.0, 2.0]),
        "digits_fp32.onnx": times(6.0),
        "digits_int8.onnx": times(5.0),
    }


def test_gains_are_over_the_float_file_of_the_same_format(manifest, parity, measured):
    by_name = {row.name: row for row in figures(manifest, parity, measured)}
    assert by_name["digits_int8.tflite"].smaller == pytest.approx(3.2)
    assert by_name["digits_int8.onnx"].faster == Ratio(median=pytest.approx(1.2))
    assert (by_name["digits_fp32.onnx"].smaller, by_name["digits_fp32.onnx"].faster) == (None, None)


def test_ratios_are_taken_within_rounds(manifest, parity, measured):
    """A neighbour that slows both down in one round moves no ratio."""
    (row,) = (row for row in figures(manifest, parity, measured) if row.name == "digits_int8.tflite")
    assert row.faster.median == pytest.approx(2.0)
    assert row.faster.spread < 0.1


def test_the_advice_is_one_sentence_with_what_it_costs_and_gains(manifest, parity, measured):
    said = advice(figures(manifest, parity, measured))
    cost = r"(as accurate|accuracy \d points? lower)"
    assert re.fullmatch(rf"Ship digits_int8\.tflite: {cost}, 3\.2× smaller, 2\.0× as fast \(±0\.0\d\)\.", said)


def test_of_equally_fast_files_the_smallest_is_advised(manifest, parity, measured):
    measured["digits_int8.onnx"] = times(2.05)
    small = dataclasses.replace(manifest.artefacts["digits_int8.onnx"], size_bytes=1_000_000)
    manifest = dataclasses.replace(manifest, artefacts={**manifest.artefacts, "digits_int8.onnx": small})
    assert "Ship digits_int8.onnx:" in advice(figures(manifest, parity, measured))


def test_where_float_is_fastest_it_is_advised_and_said_why(manifest, parity, measured):
    measured["digits_int8.tflite"] = times(4.5)
    said = advice(figures(manifest, parity, measured))
    assert said == "Ship digits_fp32.tflite: as accurate, no smaller file is faster on this machine."


def test_what_failed_is_never_advised(manifest, failed, measured):
    assert "digits_int8.tflite" not in advice(figures(manifest, failed, measured))


def test_lost_accuracy_is_said(manifest, parity, measured):
    def worse(artefact):
        metrics = dataclasses.replace(artefact.judgement.metrics, accuracy=0.98, reference_accuracy=0.99)
        return dataclasses.replace(artefact, judgement=dataclasses.replace(artefact.judgement, metrics=metrics))

    worse_all = dataclasses.replace(parity, artefacts=tuple(map(worse, parity.artefacts)))
    assert "accuracy 1 points lower" in advice(figures(manifest, worse_all, measured))


def test_without_times_there_is_no_advice(manifest, parity):
    assert advice(figures(manifest, parity, {})) is None


def test_a_ratio_that_may_be_one_is_told_as_about():
    def times(*samples_ms):
        return {"median_ms": float(np.median(samples_ms)), "samples_ms": samples_ms}

    noisy = _ratio(times(1.0, 1.2, 0.9, 1.1), times(1.0, 1.0, 1.0, 1.0))
    assert not noisy.is_clear and noisy.plain.startswith("≈ 1.0")
    assert _ratio(times(2.0, 2.1, 2.2), times(1.0, 1.0, 1.0)).plain == "2.10×"
    assert _ratio(times(0.5, 0.5, 0.5), times(1.0, 1.0, 1.0)).is_clear


def test_what_is_slower_is_said_with_why(manifest, parity):
    times = {}
    for name in manifest.artefacts:
        ms = 2.0 if "int8" in name else 1.0
        times[name] = {"median_ms": ms, "p10_ms": ms, "p90_ms": ms, "samples_ms": (ms, ms)}
    sentences = slower(figures(manifest, parity, times))
    assert len(sentences) == sum("int8" in name for name in manifest.artefacts)
    assert all("is slower than its float32 file here (0.50×" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(0.0412, "0.0412 ms"), (8.0, "8 ms"), (99.96, "100 ms"), (999.7, "1,000 ms"), (1234.5, "1,230 ms"), (0.0, "0 ms")],
)
def test_times_have_three_digits_and_no_exponent(milliseconds, words):
    assert in_ms(milliseconds) == words


def test_a_spread_of_tens_of_milliseconds_has_no_exponent():
    assert latency_words({"median_ms": 1767.0, "p10_ms": 1750.0, "p90_ms": 1796.0}) == "1,770 ms ±20"
    assert latency_words({"median_ms": 0.412, "p10_ms": 0.4, "p90_ms": 0.54}) == "0.412 ms ±0.07"


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (8_200, "0.008 MB"),
        (99_000, "0.099 MB"),
        (700_000, "0.70 MB"),
        (52_371_000, "52.37 MB"),
        (184_999_000, "185 MB"),
    ],
)
def test_all_sizes_have_one_unit(size_bytes, words):
    assert in_mb(size_bytes) == words
