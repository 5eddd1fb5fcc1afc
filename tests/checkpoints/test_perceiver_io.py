"""perceiver-pytorch's PerceiverIO and PerceiverLM: read, lowered, and equal to perceiver-pytorch 0.11."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.checkpoints.perceiver_io import perceiver_io_shapes
from perceiver_edge.config import parse_config
from perceiver_edge.errors import BadInputError
from perceiver_edge.lowering import chunk_keys, drop_maximum, lower, plain_program
from perceiver_edge.lowering.execute import LoweredPerceiver

SIZES = {
    "depth": 2, "dim": 6, "num_latents": 4, "latent_dim": 8, "cross_heads": 2, "latent_heads": 2,
    "cross_dim_head": 4, "latent_dim_head": 4,
}  # fmt: skip
CASES = {
    "queries": {"model": "PerceiverIO", **SIZES, "queries_dim": 5, "logits_dim": 3, "num_queries": 7},
    "tied, decoder_ff": {
        "model": "PerceiverIO", **SIZES, "queries_dim": 5, "logits_dim": 3, "num_queries": 1, "decoder_ff": True,
        "weight_tie_layers": True, "depth": 3,
    },
    "inverted": {
        "model": "PerceiverIO", **SIZES, "queries_dim": 5, "num_queries": 7, "inverted_cross_attn": True,
    },
    "attention residual": {
        "model": "PerceiverIO", **SIZES, "queries_dim": 5, "num_queries": 3, "attn_residual": True,
        "attn_residual_rank": 3,
    },
    "tied attention residual": {
        "model": "PerceiverIO", **SIZES, "queries_dim": 5, "num_queries": 3, "attn_residual": True,
        "attn_residual_rank": 3, "weight_tie_layers": True, "depth": 3,
    },
    "queries as an input": {
        "model": "PerceiverIO", **SIZES, "queries_dim": 5, "logits_dim": 3, "num_queries": 7,
        "queries_are_input": True, "decoder_ff": True,
    },
    "no logits": {"model": "PerceiverIO", **SIZES, "queries_dim": 5, "num_queries": 2},
    "latents": {"model": "PerceiverIO", **SIZES, "queries_dim": 5},
    "language model": {"model": "PerceiverLM", **SIZES, "num_tokens": 11, "max_seq_len": 9},
}  # fmt: skip


@pytest.fixture(params=CASES)
def values(request):
    return CASES[request.param] | {"input_shape": [9]}


@pytest.fixture
def weights(values):
    random = np.random.default_rng(3)
    config, _ = parse_config(values)
    draw = {name: random.standard_normal(shape) for name, shape in perceiver_io_shapes(config).items()}
    return {n: (w / np.sqrt(w.shape[-1]) if w.ndim > 1 else 1 + w / 5).astype(np.float32) for n, w in draw.items()}


@pytest.fixture
def folder(values, weights, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path


def run(program, inputs, mask):
    feeds = {n: tf.constant(v, tf.int32 if v.dtype.kind == "i" else tf.float64) for n, v in inputs.items()}
    return LoweredPerceiver(program, dtype=tf.float64)(feeds, tf.constant(mask)).numpy()


def inputs_of(config):
    random = np.random.default_rng(5)
    mask = np.arange(9)[None] < 6
    if config.vocabulary:
        return {"input": random.integers(0, config.vocabulary, (1, 9)).astype(np.int32)}, mask
    shapes = {"input": (9, config.dim), **config.beside((9,))}
    return {name: random.standard_normal((1, *shape)).astype(np.float32) for name, shape in shapes.items()}, mask


def test_it_computes_what_perceiver_pytorch_computes(folder):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("perceiver_pytorch")
    checkpoint = load_checkpoint(folder)
    config = checkpoint.config
    keys = (
        "model",
        "num_queries",
        "queries_are_input",
        *(() if config.is_language_model else ("num_tokens", "max_seq_len")),
    )
    arguments = {key: value for key, value in config.to_dict().items() if key not in keys}
    if config.is_language_model:
        del arguments["queries_dim"], arguments["logits_dim"]
    model = getattr(library, config.model)(**arguments).double().eval()
    state = {name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()}
    queries = state.pop("queries", None)
    if config.is_language_model:
        state = {n if n.startswith(("token_emb", "pos_emb")) else f"perceiver_io.{n}": w for n, w in state.items()}
    assert not model.load_state_dict(state, strict=False).unexpected_keys
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.RMSNorm)):
        norm.eps = torch.finfo(torch.float32).eps  # what it is in a model of float32
    inputs, mask = inputs_of(config)
    if "queries" in inputs:
        queries = torch.from_numpy(inputs["queries"])
    options = {} if queries is None else {"queries": queries.double()}
    data = torch.from_numpy(inputs["input"])
    with torch.no_grad():
        wanted = model(data if config.is_language_model else data.double(), mask=torch.from_numpy(mask), **options)
    got = run(plain_program(config, checkpoint.weights, (9,)), inputs, mask)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-9, atol=1e-9)


def test_lowering_keeps_what_is_computed(folder):
    checkpoint = load_checkpoint(folder)
    program = plain_program(checkpoint.config, checkpoint.weights, (9,))
    inputs, mask = inputs_of(checkpoint.config)
    np.testing.assert_allclose(run(lower(program)[0], inputs, mask), run(program, inputs, mask), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("values", [CASES["inverted"] | {"input_shape": [9]}])
def test_it_is_not_what_usual_attention_computes(folder):
    checkpoint = load_checkpoint(folder)
    usual = dataclasses.replace(checkpoint.config, inverted_cross_attn=False)
    inputs, mask = inputs_of(checkpoint.config)
    got, other = (run(plain_program(config, checkpoint.weights, (9,)), inputs, mask) for config in
                  (checkpoint.config, usual))  # fmt: skip
    assert np.linalg.norm(got - other) > 1e-3 * np.linalg.norm(got)


def test_in_chunks_too(folder, monkeypatch):
    monkeypatch.setattr(chunk_keys, "CHUNK_BYTES", 1)
    monkeypatch.setattr(drop_maximum, "CHUNK_BYTES", 1)
    checkpoint = load_checkpoint(folder)
    program = plain_program(checkpoint.config, checkpoint.weights, (9,))
    inputs, mask = inputs_of(checkpoint.config)
    lowered, _ = lower(program, optimize_for="memory")
    np.testing.assert_allclose(run(lowered, inputs, mask), run(program, inputs, mask), rtol=1e-9, atol=1e-9)


def test_a_wrapper_of_a_language_model_is_taken_off(values, weights, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(values))
    own = ("token_emb", "pos_emb", "queries")
    save_file({n if n.startswith(own) else f"perceiver_io.{n}": w for n, w in weights.items()},
              tmp_path / "model.safetensors")  # fmt: skip
    assert set(load_checkpoint(tmp_path).weights) == set(weights)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inverted_cross_attn": [True, False]}, "inverted_cross_attn"),
        ({"attn_residual": True}, "attn_residuals.0.to_attn_logits"),
        ({"attn_residual": "yes"}, "attn_residual"),
        ({"queries_are_input": 1}, "queries_are_input"),
        ({"queries_are_input": True, "num_queries": 0}, "queries_are_input"),
        ({"queries_are_input": True}, "no place for"),
        ({"num_queries": 4}, "wrong shape"),
        ({"depth": 0}, "depth"),
        ({"colour": 1}, "colour"),
        ({"queries_dim": None}, "queries_dim"),
        ({"decoder_ff": True}, "missing"),
    ],
)
def test_what_cannot_be_used_says_why(changes, words, tmp_path):
    values = CASES["queries"]
    config, _ = parse_config(values)
    shapes = perceiver_io_shapes(config)
    save_file({n: np.ones(s, np.float32) for n, s in shapes.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(values | {"input_shape": [9]} | changes))
    with pytest.raises(BadInputError, match=words):
        load_checkpoint(tmp_path)


def test_without_queries_the_decoder_of_the_file_is_left_out(tmp_path):
    config, _ = parse_config(CASES["queries"])
    shapes = {n: s for n, s in perceiver_io_shapes(config).items() if n != "queries"}
    save_file({n: np.ones(s, np.float32) for n, s in shapes.items()}, tmp_path / "model.safetensors")
    values = CASES["queries"] | {"input_shape": [9], "num_queries": 0}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert load_checkpoint(tmp_path).config.output_name == "latents"
