"""perceiver_edge.compile: from Python, with each kind of model and of samples."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import perceiver_edge
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.config import PRESETS, InputSpec, PerceiverConfig
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.parity import ParityError
from perceiver_edge.runtime import load

GOLDEN = Path(__file__).parents[1] / "golden"

UNTRAINED = {"top1_agreement": 0.0}
"""The largest logit of a random model leads by next to nothing, so int8 may well choose another."""

TINY, TINY_INPUT = PRESETS["tiny"]


def _samples(*shape):
    """Noise around colours, since a Perceiver averages pure noise away."""
    random = np.random.default_rng(0)
    colours = random.uniform(-2, 2, (shape[0], *(1,) * (len(shape) - 2), shape[-1]))
    return (colours + random.normal(0, 0.3, shape)).astype(np.float32)


@pytest.fixture
def compile_to(tmp_path):
    def run(model, **options):
        defaults = {"gates": UNTRAINED, "num_samples": 4, "num_held_out": 4, "output": tmp_path / "out"}
        return perceiver_edge.compile(model, **{**defaults, **options})

    return run


@pytest.mark.parametrize("name", ["video", "tied_three_self_attends", "three_cross_heads"])
def test_a_perceiver_pytorch_folder_gives_artefacts_that_compute_what_perceiver_pytorch_does(
    name, compile_to, tmp_path
):
    grid = json.loads((GOLDEN / "grid.json").read_text())
    case = next(case for case in grid["cases"] if case["name"] == name)
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    folder = tmp_path / "theirs"
    folder.mkdir()
    weights = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    save_file(weights, folder / "model.safetensors")
    config = {**grid["defaults"]["config"], **case["config"], "input_shape": case["input_shape"]}
    (folder / "config.json").write_text(json.dumps(config))
    bundle = compile_to(
        folder, quantize="none", samples=_samples(8, *case["input_shape"], config["input_channels"]), batch=2
    )
    assert set(bundle.manifest.artefacts) == {"theirs_fp32.tflite", "theirs_fp32.onnx"}
    for artefact in bundle.manifest.artefacts:
        output = load(bundle.read(artefact))(tensors["input"])
        np.testing.assert_allclose(output, tensors["output"], rtol=1e-4, atol=1e-5)


def test_a_keras_perceiver_and_an_array(compile_to):
    checkpoint = Checkpoint(config=TINY, input_spec=None, weights=init_weights(TINY, 0))
    model = perceiver_edge.Perceiver.from_checkpoint(checkpoint)
    images = _samples(8, 12, 20, 3)
    bundle = compile_to(model, samples=images, input_shape=(12, 20), name="mine", formats=("onnx",))
    assert set(bundle.manifest.artefacts) == {"mine_fp32.onnx", "mine_int8.onnx"}
    reference = np.asarray(model(images[:1]))
    np.testing.assert_allclose(load(bundle.read("mine_fp32.onnx"))(images[:1]), reference, rtol=1e-4, atol=1e-5)
    int8 = load(bundle.read("mine_int8.onnx"))(images[:1])
    assert 0 < np.linalg.norm(int8 - reference) / np.linalg.norm(reference) < 0.1
    assert not bundle.manifest.is_random_weights


def test_a_checkpoint_and_a_function_that_yields_samples(compile_to):
    checkpoint = Checkpoint(config=TINY, input_spec=TINY_INPUT, weights=init_weights(TINY, 3))

    def samples():
        return ({"input": sample} for sample in _samples(8, 16, 16, 3))

    bundle = compile_to(checkpoint, samples=samples, formats=("tflite",), only=True)
    assert bundle.manifest.weights_fingerprint == checkpoint.fingerprint
    assert list(bundle.manifest.artefacts) == ["perceiver_int8.tflite"]


def test_a_perceiver_without_classifier_head(compile_to):
    config = PerceiverConfig(**{**TINY.to_dict(), "final_classifier_head": False})
    checkpoint = Checkpoint(config=config, input_spec=TINY_INPUT, weights=init_weights(config, 3))
    bundle = compile_to(checkpoint, samples=_samples(8, 16, 16, 3), formats=("onnx",), gates={})
    assert [spec.name for spec in bundle.manifest.artefacts["perceiver_int8.onnx"].outputs] == ["latents"]


def test_nothing_is_published_when_a_gate_fails(compile_to, tmp_path):
    with pytest.raises(ParityError) as failure:
        compile_to("tiny", samples=_samples(8, 16, 16, 3), gates={"relative_l2": 0.0}, formats=("onnx",), only=True)
    assert failure.value.exit_code == 1
    assert not failure.value.report.passed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"quantize": "int4"}, "quantize is not usable"),
        ({"formats": ()}, "formats is not usable"),
        ({"batch": "2"}, "batch is not usable"),
        ({"batch": True}, "batch is not usable"),
        ({"num_samples": 2.5}, "num_samples is not usable"),
        ({"input_shape": 16}, "input_shape is not usable"),
        ({"input_shape": [16, 16]}, "input_shape is not usable"),
        ({"method": "best"}, "method is not usable"),
        ({"gates": {"cosine": "0.9"}}, "Parity gate 'cosine'"),
        ({"samples": []}, "no samples"),
        ({"samples": [np.zeros((16, 16, 3)), np.zeros((16, 15, 3))]}, "sample 1"),
        ({"samples": 3}, "int"),
        pytest.param({"samples": iter(np.zeros((8, 16, 16, 3)))}, "can be read only once", id="an iterator"),
    ],
    ids=str,
)
def test_options_of_the_wrong_kind(options, told, compile_to, tmp_path):
    with pytest.raises(BadInputError, match=told):
        compile_to("tiny", **{"samples": _samples(8, 16, 16, 3), **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [3, None, np.zeros(3)])
def test_what_is_no_model(model, compile_to):
    with pytest.raises(BadInputError, match="This is not a model"):
        compile_to(model, samples=_samples(8, 16, 16, 3))


def test_a_keras_perceiver_needs_its_input_shape(compile_to):
    with pytest.raises(BadInputError, match="one fixed input shape"):
        compile_to(perceiver_edge.Perceiver(**TINY.to_dict()), samples=_samples(8, 16, 16, 3))


def test_weights_in_memory_are_checked_like_those_in_files(compile_to):
    weights = init_weights(TINY, 0)
    weights["latents"][1, 2] = np.nan
    checkpoint = Checkpoint(config=TINY, input_spec=TINY_INPUT, weights=weights)
    with pytest.raises(BadInputError, match="latents holds NaN"):
        compile_to(checkpoint, samples=_samples(8, 16, 16, 3))
    config = PerceiverConfig(**{**TINY.to_dict(), "depth": 3})
    checkpoint = Checkpoint(config=config, input_spec=InputSpec(shape=(16, 16)), weights=init_weights(TINY, 0))
    with pytest.raises(BadInputError, match="Weights are missing"):
        compile_to(checkpoint, samples=_samples(8, 16, 16, 3))
