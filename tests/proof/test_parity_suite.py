"""The parity suite: configurations × formats × precisions × engines, on samples that calibration never saw.

``pytest -m parity`` runs a quick part of it, ``pytest -m parity --slow`` every configuration of the grid.
"""

import numpy as np
import pytest

from perceiver_edge.compiler.artefacts import FORMATS, Kind
from perceiver_edge.proof.gates import PRECISIONS, Gates
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.prove import output_step, outputs
from perceiver_edge.runtime import load
from perceiver_edge.runtime.engines import ENGINES, installed_engines

pytestmark = pytest.mark.parity

QUICK = ("image_masked", "tied", "tiny_preset", "attention_residual_tied")
UNTRAINED = {"top1_agreement": 0.0}
"""Of networks that have learned nothing the largest logit is decided by differences of one step of int8."""
UNTRAINED_EIGHT_BITS = UNTRAINED | {"relative_l2": 0.2, "cosine": 0.98}
"""With 6 latent channels the rounding of single channels does not average out. What shows a model that no longer sees
its input, the sensitivity and the centred cosine, stays at the default bounds; the trained digits are held to all."""


def prove_on(engine, subject, precision, gates):
    if not installed_engines((engine,)):
        pytest.skip(f"{engine} is not installed")
    if engine == "tflite_runtime" and precision == "dynamic":
        pytest.skip("tflite-runtime 2.14 does not know FULLY_CONNECTED version 12, which dynamic range needs")
    content = subject.artefacts[Kind(ENGINES[engine].format, precision)]
    judgement = judge(
        subject.held_out.reference,
        outputs(load(content, engine=engine), subject.held_out),
        gates=gates,
        is_classifier=subject.model.checkpoint.config.final_classifier_head,
        labels=subject.held_out.labels,
        output_step=output_step(content),
    )
    assert judgement.passed, judgement.failures
    return judgement.metrics


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_trained_digits_pass_every_default_gate(subject, precision, engine):
    metrics = prove_on(engine, subject("digits"), precision, Gates.for_precision(precision))
    assert metrics.num_samples == 100
    assert metrics.accuracy >= metrics.reference_accuracy - 0.011  # one sample of a hundred


def configurations(names, *marks):
    return [pytest.param(name, marks=marks, id=name) for name in names]


def pytest_generate_tests(metafunc):
    if "configuration" not in metafunc.fixturenames:
        return
    plugins = metafunc.config.pluginmanager.get_plugins()
    load_grid = next(plugin.load_grid for plugin in plugins if hasattr(plugin, "load_grid"))
    # The README model needs photographs and minutes: test_formats_agree.
    others = [case.name for case in load_grid() if case.name not in (*QUICK, "readme")]
    metafunc.parametrize("configuration", configurations(QUICK) + configurations(others, pytest.mark.slow))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_configuration_passes(subject, configuration, precision, engine):
    model = subject(configuration)
    overrides = UNTRAINED if precision in ("fp32", "fp16") else UNTRAINED_EIGHT_BITS
    gates = Gates.for_precision(precision).with_overrides(overrides)
    if model.model.checkpoint.config.context_channels == 1:  # LayerNorm makes one channel a constant: nothing varies
        gates = Gates(relative_l2=gates.relative_l2, cosine=gates.cosine)
    prove_on(engine, model, precision, gates)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_every_layer_gives_what_its_integers_have_to(subject, configuration, precision, format_):
    worst = subject(configuration).prove(format_, precision).worst_layer
    assert worst.error < Gates.for_precision("int8").layer_error, worst.name


def test_held_out_samples_are_not_those_of_calibration(subject):
    from perceiver_edge.compiler.representative import choose_samples

    digits = subject("digits")
    calibrating, _ = choose_samples(digits.model, None, num_calibration=128, num_held_out=100, seed=0)
    seen = {sample["input"].tobytes() for sample in calibrating}
    assert seen.isdisjoint(sample.tobytes() for sample in digits.held_out.inputs["input"])


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_layer_table_of_a_float_model_has_no_error_in_it(subject, format_):
    proven = subject("digits").prove(format_, "fp32")
    assert len(proven.layers) == 16
    worst = max(layer.relative_l2 for layer in proven.layers)
    assert np.isfinite(worst)
    assert worst < 1e-4
