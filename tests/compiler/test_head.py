"""Outputs of different units: each is judged for itself, and the last product stays in float where int8 loses one."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

import perceiver_edge as pe
from perceiver_edge.calibration import Range
from perceiver_edge.compiler import pipeline
from perceiver_edge.compiler.head import decide_head
from perceiver_edge.config import HuggingFaceConfig
from perceiver_edge.config.huggingface import SEQUENCE
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.outputs import task_of, worst_output
from perceiver_edge.runtime import load

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(200, 4))


@pytest.mark.parametrize(
    ("outputs", "has_labels", "task"),
    [
        (NOISE, False, "classification"),
        (NOISE * [1, 1, 1, 3], False, "classification"),
        (NOISE * [3000, 1, 1, 1], False, "regression"),
        (NOISE * [3000, 1, 1, 1], True, "classification"),
        (NOISE * [50, 1, 1, 1] + [1000, 0, 0, 0], False, "regression"),  # one is far from 0 besides
        (NOISE * [3000, 0, 3000, 3000], False, "classification"),  # a constant loses nothing
        (NOISE[:, :1], False, "regression"),
        (RNG.normal(size=(20, 1000)) * RNG.uniform(0.001, 1, 1000), False, "classification"),
    ],
)
def test_what_outputs_are(outputs, has_labels, task):
    assert task_of(outputs, has_labels=has_labels) == task


@pytest.mark.parametrize(
    ("scales", "offsets", "task", "in_float"),
    [
        ([3000, 1, 1, 1], 0, None, True),
        ([1, 1, 1, 1], [300, 0, 0, 0], "regression", True),
        ([1, 1, 1, 1], 0, "regression", False),
        ([3000, 1, 1, 1], 0, "classification", False),
    ],
)
def test_the_last_product_stays_in_float_where_int8_loses_an_output(scales, offsets, task, in_float):
    outputs = NOISE * scales + offsets
    decision = decide_head(outputs, Range(outputs.min(), outputs.max()), task=task, has_labels=False)
    assert decision.applied is in_float


def test_latents_have_no_head():
    assert not decide_head(None, None, task=None, has_labels=False).applied


@pytest.mark.parametrize("harm", ["constant", "noise", "negated", "half"])
def test_a_small_output_that_is_lost_fails_its_gate(harm):
    reference = NOISE * [3000, 1, 1, 1]
    actual = reference * 1.001
    actual[:, 2] = {
        "constant": 0, "noise": RNG.normal(size=200), "negated": -reference[:, 2], "half": reference[:, 2] / 2
    }[harm]  # fmt: skip
    gates = Gates.for_precision("int8")
    together = judge(reference, actual, gates=gates, is_classifier=True)
    assert {check.name for check in together.failures} <= {"top1_agreement"}  # else nobody would see it
    judgement = judge(reference, actual, gates=gates, is_classifier=False)
    assert {check.name[:9] for check in judgement.failures} == {"output_2_"}


def test_sound_outputs_of_any_units_pass():
    reference = NOISE * [3000, 1, 0.001, 0] + [0, 5, 0, 7]
    judgement = judge(reference, reference * 1.001, gates=Gates.for_precision("int8"), is_classifier=False)
    assert judgement.passed
    assert worst_output(NOISE * 0, NOISE) is None


def test_a_regression_is_compiled_and_every_output_follows(tmp_path):
    keras.utils.set_random_seed(0)
    model = pe.Perceiver(
        num_freq_bands=2, max_freq=8.0, depth=1, input_channels=1, num_latents=8, latent_dim=32, latent_heads=2,
        cross_dim_head=16, latent_dim_head=16, num_classes=2,
    )  # fmt: skip
    weights = model.named_weights()
    weights["to_logits.2.weight"][1] *= 3000
    weights["to_logits.2.bias"][:] = 0
    model.load_named_weights(weights)
    random = np.random.default_rng(0)
    samples = (random.normal(size=(200, 12, 12, 1)) * random.uniform(0.1, 3, (200, 1, 1, 1))).astype(np.float32)
    bundle = pe.compile(model, samples=samples, input_shape=(12, 12), output=tmp_path / "b", cache=False)
    assert bundle.manifest.task == "regression" and not bundle.manifest.is_classifier
    (decision,) = (d for d in bundle.manifest.lowering if d.rule == "float_head")
    assert decision.applied
    held = np.load(bundle.path / "held_out.npz")
    for format_ in ("tflite", "onnx"):
        answers = load(bundle.path / f"perceiver_int8.{format_}").batch(held["input.input"])
        np.testing.assert_allclose(answers.std(axis=0), held["reference"].std(axis=0), rtol=0.15)
    with pytest.raises(BadInputError, match="values, each for itself"):
        load(bundle.path / "perceiver_int8.onnx").top(samples[0])
    # The ranges that were found, given again, make the same models.
    again = pe.compile(
        model, samples=samples, input_shape=(12, 12), output=tmp_path / "again", only=True, cache=False,
        calibration=bundle.path / "calibration.json",
    )  # fmt: skip
    assert again.read("perceiver_int8.onnx") == bundle.read("perceiver_int8.onnx")


@pytest.mark.parametrize(("asked", "task"), [(None, "regression"), ("classification", "classification")])
def test_the_model_says_what_its_outputs_are_unless_the_user_does(asked, task):
    config = HuggingFaceConfig(architecture=SEQUENCE, problem_type="multi_label_classification")
    model = SimpleNamespace(checkpoint=SimpleNamespace(config=config), is_random_weights=False)
    held_out = SimpleNamespace(reference=NOISE, labels=None)
    assert pipeline._task(SimpleNamespace(model=model, options=SimpleNamespace(task=asked)), held_out) == task
