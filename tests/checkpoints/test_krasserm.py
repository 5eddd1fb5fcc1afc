"""Models of krasserm's perceiver-io: read, lowered, and equal to perceiver-io 0.11.1 (and 0.6.0)."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

import perceiver_edge
from perceiver_edge.bundle.pictures import preprocessing_of
from perceiver_edge.calibration.sources import open_source
from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.compiler.resolve import resolve_model
from perceiver_edge.config import parse_config
from perceiver_edge.errors import BadInputError
from perceiver_edge.lowering import lower, plain_program
from perceiver_edge.lowering.execute import LoweredPerceiver

_SPEC = importlib.util.spec_from_file_location("golden_krasserm", Path(__file__).parents[1] / "golden" / "krasserm.py")
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)

OLD_NAMES = {  # of 0.6, the newest release on PyPI
    "0.latent_provider._query": "0.latent", "1.output_query_provider._query": "1.output_adapter._output_query",
    "0.input_adapter.position_encoding.position_encoding": "0.input_adapter.position_encoding",
    "0.input_adapter.pos_embedding.weight": "0.input_adapter.pos_encoding",
}  # fmt: skip


@pytest.fixture(scope="module")
def stored():
    return golden.expected()


@pytest.fixture
def weights(stored):
    def weights(name):
        of_case = {key: values for key, values in stored.items() if key.startswith(f"{name}/")}
        return {key.removeprefix(f"{name}/"): values.astype(np.float32) for key, values in of_case.items()}

    return weights


@pytest.fixture
def folder(tmp_path, weights):
    def folder(name, *, prefix="backend_model.", rename=lambda name: name, parts=None, **changes):
        values = {**copy.deepcopy(golden.CASES[name]), **changes}
        for part, keys in (parts or {}).items():
            values["model_config"][part] = {**values["model_config"][part], **keys}
        (tmp_path / "config.json").write_text(json.dumps({**values, "transformers_version": "4.28.0"}))
        tensors = {prefix + rename(key): values for key, values in weights(name).items()}
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return folder


def run(program, name):
    inputs, mask = golden.inputs_of(name)
    feeds = {"input": tf.constant(inputs, tf.float64 if mask is None else tf.int32)}
    return LoweredPerceiver(program, dtype=tf.float64)(feeds, None if mask is None else tf.constant(mask)).numpy()[0]


def program_of(checkpoint, name):
    inputs, mask = golden.inputs_of(name)
    shape = inputs.shape[1:3] if mask is None else inputs.shape[1:]
    return plain_program(checkpoint.config, checkpoint.weights, shape)


def off(got, wanted):
    assert got.shape == wanted.shape
    return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("name", golden.CASES)
@pytest.mark.parametrize(
    ("prefix", "rename"),
    [
        ("backend_model.", lambda name: name),  # save_pretrained
        ("model.", lambda name: OLD_NAMES.get(name, name)),  # the weights in a checkpoint of Lightning
        ("", lambda name: name.replace(".0.module.", "._checkpoint_wrapped_module.0.module.")),
    ],
    ids=["folder", "old names", "checkpointed activations"],
)
def test_the_program_is_the_model_of_perceiver_io(name, prefix, rename, folder, stored):
    checkpoint = load_checkpoint(folder(name, prefix=prefix, rename=rename))
    program = program_of(checkpoint, name)
    assert off(run(program, name), stored[name]) < 1e-12
    if prefix == "":
        assert off(run(lower(program)[0], name), stored[name]) < 1e-12


@pytest.mark.parametrize("name", golden.CASES)
def test_a_configuration_survives_the_manifest(name):
    config, _ = parse_config(golden.CASES[name])
    assert parse_config(json.loads(json.dumps(config.to_dict())))[0] == config


def test_the_size_is_the_models_own(folder):
    assert resolve_model(folder("image")).sample_shape == (5, 6, 3)
    with pytest.raises(BadInputError, match="its one size"):
        resolve_model(folder("image"), input_shape=(6, 6))


def test_a_text_has_no_more_symbols_than_positions_and_queries(folder):
    assert resolve_model(folder("masked text, tied")).sample_shape == (11,)
    with pytest.raises(BadInputError, match="at most 11"):
        resolve_model(folder("masked text, tied"), input_shape=(12,))


def test_class_names_and_what_the_processor_does(folder):
    path = folder("text", id2label={"0": "NEGATIVE", "1": "POSITIVE"})
    assert load_checkpoint(path).class_names == ("NEGATIVE", "POSITIVE")
    path = folder("image, later weights their own", id2label={0: 0, 1: 1, 2: 2})
    processor = {"do_center_crop": False, "do_resize": False, "image_mean": 0.5, "image_std": 0.5}
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    checkpoint = load_checkpoint(path)
    assert checkpoint.class_names == ("0", "1", "2")
    assert checkpoint.input_spec.image_mean == (0.5,)
    assert checkpoint.input_spec.resize is None


@pytest.mark.parametrize("name", ["image", "image, later weights their own"])
def test_without_the_processors_file_nobody_has_said_what_a_pixel_becomes(name, folder):
    named = resolve_model(folder(name))
    assert not named.input_spec.declares_normalisation
    assert named.input_spec.resize is None
    said = resolve_model(folder(name), image_mean=(0.5,), image_std=(0.5,), resize="squash").input_spec
    assert (said.image_mean, said.image_std, said.resize) == ((0.5,), (0.5,), "squash")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "perceiver-io-optical-flow"}, "deepmind/optical-flow-perceiver"),
        ({"model_type": "perceiver-ar-causal-language-model"}, "one symbol at a time"),
        ({"model_type": "perceiver-io-point-clouds"}, "not supported"),
        ({"model_config": None}, "does not describe"),
        ({"model_config": {"encoder": []}}, "a mapping"),
        ({"model_config": {"encoder": {"num_latents": 3}}}, "keys that perceiver-io does not have"),
        ({"model_config": {"encoder": {"num_self_attention_heads": 3}}}, "a divisor of the widths"),
        ({"model_config": {"encoder": {"num_cross_attention_layers": 3}}}, "at most num_self_attention_blocks"),
        ({"model_config": {"encoder": {"num_self_attention_blocks": True}}}, "an integer from 1"),
        ({"model_config": {"encoder": {"image_shape": [5, 6]}}}, "height, width and channels"),
        ({"model_config": {"decoder": {"cross_attention_residual": False}}}, "does not fit the weights"),
        ({"model_config": {"decoder": {"num_classes": 8}}}, "wrong shape"),
        ({"model_config": {"encoder": {"num_self_attention_layers_per_block": 1}}}, "no place for"),
        ({"positions": [1]}, "no outputs are chosen"),
    ],
)
def test_what_cannot_be_read_says_why(changes, words, folder):
    parts = changes.get("model_config")
    if parts and all(isinstance(keys, dict) for keys in parts.values()):
        path = folder("image", parts=parts)
    else:
        path = folder("image", **changes)
    with pytest.raises(BadInputError, match=words):
        load_checkpoint(path)


def test_the_tied_embedding_has_one_vocabulary(folder):
    with pytest.raises(BadInputError, match="vocab_size"):
        load_checkpoint(folder("masked text, tied", parts={"decoder": {"vocab_size": 40}}))


def test_texts_of_another_tokenizer_are_not_taken_for_bytes(folder, tmp_path):
    named = resolve_model(folder("text"))
    assert preprocessing_of(named.checkpoint.config, named.input_spec) is None
    (tmp_path / "texts.txt").write_text("one\ntwo\n")
    with pytest.raises(BadInputError, match="not bytes"):
        open_source(str(tmp_path / "texts.txt"), shape=(12,), vocabulary=41)


def test_layers_that_share_weights_are_held_to_their_common_rounding(folder, tmp_path):
    """The first layer's query is folded, so that its output has a bias of its own: the weight is still the others'."""
    rng = np.random.default_rng(0)
    samples = {"input": rng.integers(0, 41, (24, 11)).astype(np.int32), "mask": np.ones((24, 11), bool)}
    opened = {"relative_l2": 1e9, "cosine": -1.0, "top1_agreement": 0.0, "centred_cosine": -1.0}
    bundle = perceiver_edge.compile(
        folder("masked text, tied"), samples=samples, num_samples=12, num_held_out=12, only=True, output=tmp_path / "b",
        gates=opened | {"sensitivity_min": 0.0, "sensitivity_max": 1e9}, quantize=("int8", "dynamic"),
    )  # fmt: skip
    for artefact in bundle.parity.artefacts:
        assert max(layer.own for layer in artefact.layers) < 1e-5
