import json
import math

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import PRECISIONS, Gates, gates_by_precision
from perceiver_edge.proof.judgement import Check, Judgement, by_chance, judge
from perceiver_edge.proof.layers import WorstLayer, layer_errors, own_errors, worst_layer
from perceiver_edge.proof.parity import ArtefactParity, ParityReport

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(size=(200, 10)).astype(np.float32)
NOISE = RNG.normal(size=REFERENCE.shape)


def failures(actual, precision="int8", reference=REFERENCE):
    judgement = judge(reference, actual, gates=Gates.for_precision(precision), is_classifier=True)
    assert judgement.passed == (not judgement.failures)
    return {check.name for check in judgement.failures}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_reference_passes_its_own_gates(precision):
    assert failures(REFERENCE, precision) == set()


@pytest.mark.parametrize(("precision", "within", "beyond"), [("fp32", 9e-5, 1.2e-4), ("fp16", 3e-3, 1.2e-2)])
def test_relative_error_decides_for_floats(precision, within, beyond):
    assert failures(REFERENCE + within * NOISE, precision) == set()
    assert "relative_l2" in failures(REFERENCE + beyond * NOISE, precision)


@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_eight_bits_may_cost_what_eight_bits_cost_and_no_more(precision):
    assert failures(REFERENCE + 0.01 * NOISE, precision) == set()
    assert failures(REFERENCE + 0.3 * NOISE, precision) >= {"cosine", "top1_agreement"}


def test_each_gate_catches_what_the_others_miss():
    assert failures(REFERENCE * 1.08) == {"relative_l2"}
    offset = REFERENCE + 50.0
    mean = offset.mean(axis=0)
    assert failures(mean + 1.15 * (offset - mean), reference=offset) == {"sensitivity_ratio"}
    assert failures(mean + 0.85 * (offset - mean), reference=offset) == {"sensitivity_ratio"}
    collapsed = np.broadcast_to(mean, offset.shape)
    assert failures(collapsed, reference=offset) == {"sensitivity_ratio", "centred_cosine", "top1_agreement"}
    shuffled = offset[RNG.permutation(len(offset))]
    assert failures(shuffled, reference=offset) == {"centred_cosine", "top1_agreement"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nan_fails_every_check(precision):
    actual = REFERENCE.copy()
    actual[0, 0] = np.nan
    judgement = judge(REFERENCE, actual, gates=Gates.for_precision(precision), is_classifier=True)
    assert judgement.failures == judgement.checks


def test_one_sample_proves_no_sensitivity():
    assert failures(REFERENCE[:1], reference=REFERENCE[:1]) == {"sensitivity_ratio", "centred_cosine"}


def test_top1_is_for_classifiers_only():
    latents = REFERENCE.reshape(20, 10, 10)
    judgement = judge(latents, latents, gates=Gates.for_precision("int8"), is_classifier=False)
    assert "top1_agreement" not in {check.name for check in judgement.checks}
    assert judgement.passed


def test_nothing_checked_is_nothing_passed():
    assert not judge(REFERENCE, REFERENCE, gates=Gates(), is_classifier=True).passed


def test_bounds_are_inclusive_and_nan_is_outside_all_of_them():
    assert Check("cosine", 0.99, at_least=0.99).passed
    assert not Check("cosine", 0.9899, at_least=0.99).passed
    assert not Check("ratio", 1.11, at_least=0.9, at_most=1.1).passed
    assert not Check("cosine", math.nan).passed
    assert Check("ratio", 1.0, at_least=0.9, at_most=1.1).bound == "0.9 to 1.1"
    assert Check("relative_l2", 1.0, at_most=1e-4).bound == "≤ 0.0001"


def test_overrides_replace_only_what_they_name():
    strict = Gates.for_precision("int8").with_overrides({"cosine": 0.9999})
    assert (strict.cosine, strict.top1_agreement) == (0.9999, 0.97)
    assert {c.name for c in judge(REFERENCE, REFERENCE + 0.03 * NOISE, gates=strict, is_classifier=True).failures} == {
        "cosine"
    }


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"cosin": 0.9}, "Unknown parity gate"),
        ({"cosine": 1.1}, "at most 1"),
        ({"relative_l2": -1.0}, "at least 0"),
        ({"relative_l2": math.inf}, "finite"),
        ({"cosine": math.nan}, "out of range"),
        ({"cosine": "high"}, "out of range"),
        ({"top1_agreement": True}, "out of range"),
        ({"sensitivity_min": 1.2}, "No sensitivity ratio can pass"),
    ],
)
def test_unusable_overrides_are_refused(overrides, says):
    with pytest.raises(BadInputError, match=says):
        Gates.for_precision("int8").with_overrides(overrides)


def test_unknown_precision_is_refused():
    with pytest.raises(BadInputError, match="int4"):
        Gates.for_precision("int4")


def test_layers_come_in_the_references_order_and_show_where_the_error_enters():
    names = ["encode", "cross_0", "self_0", "head"]
    reference = {name: RNG.normal(size=(4, 8)) for name in names}
    error = {"encode": 0.0, "cross_0": 0.01, "self_0": 0.4, "head": 0.45}
    actual = {name: reference[name] * (1 + error[name]) for name in reversed(names)}
    layers = layer_errors(reference, actual)
    assert [layer.name for layer in layers] == names
    assert [layer.relative_l2 for layer in layers] == pytest.approx([0.0, 0.01, 0.4, 0.45])
    assert artefact(layers).error_enters_at.name == "self_0"


def test_an_error_in_the_first_layer_enters_there_and_nan_beats_all():
    reference = {"a": np.ones(4), "b": np.ones(4), "c": np.ones(4)}
    first = layer_errors(reference, {"a": np.full(4, 1.5), "b": np.full(4, 1.6), "c": np.full(4, 1.7)})
    assert artefact(first).error_enters_at.name == "a"
    broken = layer_errors(reference, {"a": np.full(4, 9.0), "b": np.array([1, np.inf, 1, 1]), "c": np.ones(4)})
    assert artefact(broken).error_enters_at.name == "b"
    assert artefact(()).error_enters_at is None


def test_layers_only_one_side_has_are_left_out_but_none_in_common_is_an_error():
    assert [e.name for e in layer_errors({"a": np.ones(2), "b": np.ones(2)}, {"b": np.ones(2)})] == ["b"]
    with pytest.raises(BadInputError, match="no layer in common"):
        layer_errors({"a": np.ones(2)}, {"b": np.ones(2)})
    with pytest.raises(BadInputError, match="a"):
        layer_errors({"a": np.ones(2)}, {"a": np.ones(3)})


def artefact(layers=(), actual=REFERENCE):
    judgement = judge(REFERENCE, actual, gates=Gates.for_precision("int8"), is_classifier=True)
    return ArtefactParity(
        name="m_int8.onnx", engine="onnxruntime", precision="int8", judgement=judgement, layers=layers
    )


def report(*artefacts):
    return ParityReport(
        artefacts=artefacts,
        num_samples=200,
        samples_source="held-out digits",
        is_random_weights=False,
        is_random_data=False,
        gate_overrides={"cosine": 0.98},
    )


def test_report_passes_only_if_every_artefact_does():
    assert report(artefact()).passed
    assert not report(artefact(), artefact(actual=-REFERENCE)).passed
    assert not report().passed


def test_report_survives_json_with_nan_and_infinity_in_it():
    layers = layer_errors({"a": np.zeros(2), "b": np.ones(2)}, {"a": np.ones(2), "b": np.ones(2)})
    original = report(artefact(layers), artefact(actual=REFERENCE * np.nan))
    text = json.dumps(original.to_dict(), allow_nan=False)
    restored = ParityReport.from_dict(json.loads(text))
    assert repr(restored) == repr(original)  # repr, since NaN != NaN
    assert restored.artefacts[0].layers[0].relative_l2 == math.inf
    assert math.isnan(restored.artefacts[1].judgement.metrics.cosine)


def test_an_edited_verdict_is_not_believed():
    values = report(artefact(actual=-REFERENCE)).to_dict()
    values["passed"] = values["artefacts"][0]["passed"] = values["artefacts"][0]["judgement"]["passed"] = True
    assert not ParityReport.from_dict(values).passed


@pytest.mark.parametrize("values", [{}, {"artefacts": 3}, {"artefacts": [{}]}, {**report().to_dict(), "extra": 1}])
def test_what_is_no_report_is_refused(values):
    with pytest.raises(BadInputError, match="not a parity report"):
        ParityReport.from_dict(values)


def test_judgement_without_checks_has_not_passed():
    assert not Judgement(metrics=artefact().judgement.metrics, checks=()).passed


def advice_for(reference, actual):
    from perceiver_edge.proof.layers import LayerError
    from perceiver_edge.proof.parity import ParityError

    judgement = judge(reference, actual, gates=Gates.for_precision("int8"), is_classifier=True)
    layers = (LayerError(name="up", relative_l2=0.01, sqnr_db=40.0, cosine=1.0),)
    artefact = ArtefactParity(name="a", engine="litert", precision="int8", judgement=judgement, layers=layers)
    report = ParityReport(
        artefacts=(artefact,), num_samples=len(reference), samples_source="s", is_random_weights=False,
        is_random_data=False,
    )  # fmt: skip
    return str(ParityError(report, outcome="nothing was published"))


def test_a_failure_says_where_and_what_to_do():
    flipped = REFERENCE[:20].copy()
    first, second = np.argsort(flipped[0])[[-1, -2]]
    flipped[0, second] = flipped[0, first] + 0.01
    message = advice_for(REFERENCE[:20], flipped)
    assert "enters at up" in message
    assert "1 of 20" in message or "different answer of 20" in message
    still = 100.0 + 0.01 * REFERENCE
    assert "varies by only" in advice_for(still, still + 0.02 * NOISE)
    assert "varies by only" not in advice_for(REFERENCE, REFERENCE + 2 * NOISE)


LABELS = REFERENCE.argmax(axis=1)


def failures_with(labels, actual=REFERENCE, **gates):
    bounds = Gates.for_precision("int8").with_overrides(gates)
    judgement = judge(REFERENCE, actual, gates=bounds, is_classifier=True, labels=labels)
    return {check.name for check in judgement.failures}


def test_labels_that_the_float_model_answers_by_chance_fail():
    assert failures_with(LABELS) == set()
    rolled, shuffled = (LABELS + 1) % 10, np.random.default_rng(3).permutation(LABELS)
    assert failures_with(rolled) == {"above_chance"}
    assert failures_with(shuffled) == {"above_chance"}
    assert failures_with(rolled, above_chance=-1.0) == set()
    assert by_chance(200, 10) == pytest.approx(0.1424, abs=1e-4)
    assert by_chance(2, 2) == 1.0, "all right is right"


def test_a_file_far_less_accurate_than_the_float_model_fails_whatever_its_agreement_may_be():
    worse = REFERENCE.copy()
    worse[:12] = -worse[:12]
    open_ = {"top1_agreement": 0.0, "relative_l2": 9.0, "cosine": -1.0, "centred_cosine": -1.0, "sensitivity_min": 0.0}
    assert failures_with(LABELS, worse, **open_) == {"accuracy_lost"}
    assert failures_with(LABELS, worse, **open_, accuracy_lost=0.1) == set()


def test_random_weights_need_not_be_better_than_chance():
    assert gates_by_precision(["int8"], {}, is_random_weights=True)["int8"].above_chance is None
    opened = gates_by_precision(["fp32", "int8"], {"above_chance": -1.0, "cosine": 0.5})
    assert opened["fp32"].above_chance == -1.0, "it says nothing of a file, but of the float model"
    assert opened["fp32"].cosine is None


def test_the_worst_layer_is_held_to_its_bound_and_named():
    errors = own_errors({"up": (np.ones(4), np.ones(4)), "down": (np.ones(4), np.full(4, 1.01))})
    assert errors == {"up": 0.0, "down": pytest.approx(0.01)}
    judgement = judge(
        REFERENCE, REFERENCE, gates=Gates.for_precision("int8"), is_classifier=True, worst_layer=worst_layer(errors)
    )
    (failure,) = judgement.failures
    assert (failure.name, failure.where) == ("layer_error", "down")
    assert worst_layer({"up": 0.5, "down": math.nan}).name == "down"


def test_what_verify_takes_over_survives_json():
    judgement = judge(
        REFERENCE, REFERENCE, gates=Gates.for_precision("int8"), is_classifier=True,
        worst_layer=WorstLayer(name="nan", error=0.001),
    )  # fmt: skip
    proven = ArtefactParity(name="m", engine="litert", precision="int8", judgement=judgement)
    restored = ParityReport.from_dict(json.loads(json.dumps(report(proven).to_dict(), allow_nan=False)))
    assert restored.artefacts[0].worst_layer == WorstLayer(name="nan", error=0.001)
    assert artefact().worst_layer is None
