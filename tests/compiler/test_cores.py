"""Which cross-attends run their core in int8: those that calibration says lose little, and no others."""

import dataclasses
import json

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.calibration import Range, Ranges
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.core_losses import TOLERANCE
from perceiver_edge.compiler.cores import (
    ExtentsObserver,
    bounds_of,
    choose_cores,
    cores_in,
    given_cores,
    params_of,
    site_ranges,
)
from perceiver_edge.config import PRESETS
from perceiver_edge.converters.core_params import require_cores
from perceiver_edge.errors import BadInputError, ConversionError
from perceiver_edge.lowering import integer_core

SAMPLES = np.random.default_rng(0).standard_normal((40, 32, 32, 3)).astype(np.float32)
# Logits of random weights are too close for their order to mean anything.
OPTIONS = {
    "samples": SAMPLES,
    "input_shape": (32, 32),
    "num_samples": 12,
    "num_held_out": 12,
    "only": True,
    "gates": {"top1_agreement": 0.0},
}


@pytest.fixture(scope="module")
def diffuse(tmp_path_factory):
    """Random weights attend to everything a little."""
    return perceiver_edge.compile("tiny", output=tmp_path_factory.mktemp("diffuse") / "bundle", **OPTIONS)


def decision(bundle):
    return next(d for d in bundle.manifest.lowering if d.rule == "integer_core")


def operators(bundle, name):
    return json.loads(bundle.manifest.to_json())["artefacts"][name]["census"]["operators_by_dtype"]


def test_diffuse_attention_runs_in_int8_in_both_formats(diffuse):
    assert decision(diffuse).applied
    assert decision(diffuse).reason.startswith("2 of 2 cross-attends; int8 loses 0.0")
    assert operators(diffuse, "tiny_int8.tflite")["ELU"] == {"int8": 2}
    assert operators(diffuse, "tiny_int8.onnx")["com.microsoft.QLinearSigmoid"] == {"uint8": 2}
    assert "Sigmoid" not in operators(diffuse, "tiny_int8.onnx")


@pytest.mark.parametrize(
    "heads",
    [{"cross_heads": 2}, {"cross_heads": 2, "cross_dim_head": 4, "num_freq_bands": 12}],
    ids=["absorbed", "projected"],
)
def test_heads_chunks_and_samples_at_once(heads, tmp_path, monkeypatch):
    """A converter that led the sum of values past what the product reads would be refused."""
    monkeypatch.setattr(integer_core, "CHUNK_BYTES", 1 << 12)
    config, spec = PRESETS["tiny"]
    config = dataclasses.replace(config, **heads)
    # Untrained, latents gain so little from the input that what of it is left in the output is mostly rounding.
    weights = {
        name: 10 * weight if name.endswith("cross_attn.fn.to_out.weight") else weight
        for name, weight in init_weights(config, 0).items()
    }
    checkpoint = Checkpoint(config=config, input_spec=spec, weights=weights)
    bundle = perceiver_edge.compile(checkpoint, name="tiny", batch=2, output=tmp_path / "bundle", **OPTIONS)
    assert decision(bundle).reason.startswith("2 of 2 cross-attends")
    assert operators(bundle, "tiny_int8.tflite")["ELU"] == {"int8": 8}
    assert operators(bundle, "tiny_int8.onnx")["com.microsoft.QLinearSigmoid"] == {"uint8": 8}


def test_no_softmax_over_tokens_is_left(diffuse):
    assert operators(diffuse, "tiny_int8.tflite")["SOFTMAX"] == {"float32": 2}  # of the self-attends
    assert operators(diffuse, "tiny_int8.onnx")["Softmax"] == {"float32": 2}


def test_a_core_removed_from_the_calibration_stays_float(diffuse, tmp_path):
    ranges = Ranges.from_json(diffuse.read("calibration.json").decode())
    name, *others = ranges.cores
    edited = dataclasses.replace(ranges, cores={key: ranges.cores[key] for key in others})
    bundle = perceiver_edge.compile("tiny", calibration=edited, output=tmp_path / "bundle", **OPTIONS)
    assert decision(bundle).reason == "1 cross-attends, as the calibration file says"
    assert operators(bundle, "tiny_int8.tflite")["ELU"] == {"int8": 1}
    assert operators(bundle, "tiny_int8.tflite")["SOFTMAX"] == {"float32": 3}
    assert operators(bundle, "tiny_int8.onnx")["com.microsoft.QLinearSigmoid"] == {"uint8": 1}
    assert name not in Ranges.from_json(bundle.read("calibration.json").decode()).cores


def test_a_mask_keeps_float_cores(tmp_path):
    samples = {"input": SAMPLES, "mask": np.ones(SAMPLES.shape[:-1], bool)}
    options = OPTIONS | {"samples": samples, "formats": ("tflite",), "with_mask": True}
    bundle = perceiver_edge.compile("tiny", output=tmp_path / "bundle", **options)
    assert not decision(bundle).applied
    assert "a mask" in decision(bundle).reason


def test_a_mask_refuses_a_calibration_with_cores(diffuse, tmp_path):
    samples = {"input": SAMPLES, "mask": np.ones(SAMPLES.shape[:-1], bool)}
    options = OPTIONS | {"samples": samples, "with_mask": True, "calibration": diffuse.path / "calibration.json"}
    with pytest.raises(BadInputError, match="there is a mask"):
        perceiver_edge.compile("tiny", output=tmp_path / "bundle", **options)


LIMITS = np.array([-1.0, 2.0])
EXTENTS = {
    name: {
        **dict.fromkeys(("query", "context", "context_mean", "keys", "values", "mean_value"), LIMITS),
        "bound": np.array([1.0, 3.0]),
    }
    for name in ("layers.0.cross_attn", "layers.1.cross_attn")
}


def losing(**squared):
    """Losses with these squared errors, of a squared norm of 1, by layer."""

    def losses(feeds, bounds):
        return {
            f"layers.{layer[1:]}.cross_attn": {
                "error": np.array([*np.broadcast_to(error, 2), 1.0]),
                "weighted": LIMITS,
                "total": -LIMITS[::-1],
            }
            for layer, error in squared.items()
        }

    return losses


def test_each_core_is_decided_by_its_own_loss():
    little, much = (0.5 * TOLERANCE) ** 2, (2 * TOLERANCE) ** 2
    cores, (decided, *of_each) = choose_cores(EXTENTS, losing(l0=much, l1=little), [{"input": SAMPLES[0]}])
    assert list(cores) == ["layers.1.cross_attn"]
    assert cores["layers.1.cross_attn"].elu_error == pytest.approx(0.5 * TOLERANCE)
    assert decided.applied
    assert f"would lose {2 * TOLERANCE:.2g}" in decided.reason
    assert [(d.applied, d.reason.partition(" of what")[0]) for d in of_each] == [
        (False, "layers.0.cross_attn: float in tflite and onnx, because int8 would lose 0.06 and 0.06"),
        (True, "layers.1.cross_attn: int8 in tflite and onnx, which loses 0.015 and 0.015"),
    ]


def test_each_format_is_decided_by_the_loss_of_its_own_form():
    little, much = (0.5 * TOLERANCE) ** 2, (2 * TOLERANCE) ** 2
    losses = losing(l0=(much, little), l1=(np.nan, np.nan))
    cores, (decided, *of_each) = choose_cores(EXTENTS, losses, [{"input": SAMPLES[0]}])
    about = {"method": "minmax", "num_samples": 1, "source": "test", "is_random": True, "fingerprint": ""}
    ranges = Ranges(points={}, cores=cores, digests=frozenset(), **about)
    assert (list(cores_in(ranges, "tflite")), list(cores_in(ranges, "onnx"))) == ([], ["layers.0.cross_attn"])
    assert decided.reason.startswith("cross-attends: 0 of 2 in tflite and 1 of 2 in onnx; int8 loses 0.015")
    mixed = "int8 in onnx, which loses 0.015; float in tflite, because int8 would lose 0.06 of what it attends to"
    assert of_each[0].reason == f"layers.0.cross_attn: {mixed} (0.03 is accepted)"
    whole, first, absent = given_cores(ranges, EXTENTS)
    assert whole.reason.startswith("cross-attends: 0 in tflite and 1 in onnx")
    assert first == of_each[0]
    assert absent.reason == "layers.1.cross_attn: float, because the calibration file has no ranges for it"


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_a_loss_that_is_no_number_is_too_much(error):
    cores, (decided, *of_each) = choose_cores(EXTENTS, losing(l0=error, l1=error), [{"input": SAMPLES[0]}])
    assert not cores
    assert not any(d.applied for d in (decided, *of_each))


def test_extents_grow_with_the_samples():
    observer = ExtentsObserver()
    observer.update({"core": {"keys": np.array([-1.0, 2.0]), "bound": np.array([1.0, 5.0])}})
    observer.update({"core": {"keys": np.array([-3.0, 1.0]), "bound": np.array([2.0, 4.0])}})
    found = observer.extents()["core"]
    assert (found["keys"].tolist(), found["bound"].tolist()) == ([-3.0, 2.0], [2.0, 5.0])


def test_what_converters_get_covers_what_was_seen():
    cores, _ = choose_cores(EXTENTS, losing(l0=0.0, l1=0.0), [{"input": SAMPLES[0]}])
    params = params_of(cores, "sigmoid")["layers.0.cross_attn"]
    bound = bounds_of(cores)["layers.0.cross_attn"]
    assert bound.bound.tolist() == [1.25, 3.25]
    assert bound.key_ones == bound.value_ones == pytest.approx(2.0)
    lowest = params.query.scale * (-128 - params.query.zero_point)
    assert lowest <= -(3.25 + 5) / (3 * 2.0) + params.query.scale
    assert params.keys.zero_point == params.values.zero_point == 0
    ranges = site_ranges(cores)["layers.0.cross_attn.centred_key.output"]
    assert ranges == Range(-2.0 * 128 / 127, 2.0)  # asymmetric int8 gives it the zero point 0


def test_other_cores_than_calibrated_are_an_error():
    require_cores(["a"], ["a"], "TFLite")
    with pytest.raises(ConversionError, match="attention cores"):
        require_cores(["a", "b"], ["a"], "TFLite")
