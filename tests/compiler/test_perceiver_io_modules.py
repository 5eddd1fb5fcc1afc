"""PerceiverIO and PerceiverLM of perceiver-pytorch, from memory and from files, compared with the package itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import perceiver_edge
from perceiver_edge.compiler import import_check, perceiver_io_models
from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.errors import BadInputError

torch = pytest.importorskip("torch")
package = pytest.importorskip("perceiver_pytorch")

SIZES = {
    "depth": 2, "num_latents": 4, "latent_dim": 8, "cross_heads": 2, "latent_heads": 2, "cross_dim_head": 3,
    "latent_dim_head": 5,
}  # fmt: skip
IO = {**SIZES, "dim": 6, "queries_dim": 7, "logits_dim": 3}
TOKENS = 9


class Asking(torch.nn.Module):
    """A user's model: it asks with what it has learned."""

    def __init__(self, **options):
        super().__init__()
        self.queries = torch.nn.Parameter(torch.randn(5, 7))
        self.perceiver = package.PerceiverIO(**{**IO, **options})

    def forward(self, data, mask=None):
        return self.perceiver(data, mask=mask, queries=self.queries)


def sharpened(module):
    """Weights in which nothing is neutral."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


@pytest.fixture
def check(tmp_path):
    """(the configuration, the module's input names, how its import was checked)."""

    def check(model, samples, **options):
        fixed = {
            "samples": samples, "num_samples": 4, "num_held_out": 4, "quantize": "none", "output": tmp_path / "out",
            "cache": False,
        }  # fmt: skip
        job = prepare(Options(model, **{**fixed, **options}))
        return job.model.checkpoint, import_check.compare_with_source(job)

    return check


def numbers(**others):
    random = np.random.default_rng(0)
    shapes = {"input": (TOKENS, 6), **others}
    return {name: random.standard_normal((8, *shape)).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def texts():
    mask = np.arange(TOKENS)[None] < np.arange(2, 10)[:, None]
    return {"input": np.random.default_rng(0).integers(0, 11, (8, TOKENS)).astype(np.int32), "mask": mask}


@pytest.mark.parametrize(
    "options",
    [{}, {"decoder_ff": True, "weight_tie_layers": True}, {"attn_residual": True, "attn_residual_rank": 3},
     {"inverted_cross_attn": True, "logits_dim": None}],
    ids=str,
)  # fmt: skip
def test_queries_that_the_module_has_learned(options, check):
    module = sharpened(Asking(**options)).train()
    checkpoint, source = check(module, numbers()["input"], input_shape=(TOKENS,))
    assert checkpoint.config.num_queries == 5
    assert source.compared_with == "The module that was passed (Asking)"
    assert source.relative_l2 < 1e-5
    assert module.training


def test_queries_as_an_input(check):
    module = sharpened(package.PerceiverIO(**IO))
    config = {"num_queries": 5, "queries_are_input": True}
    checkpoint, source = check(module, numbers(queries=(5, 7)), config=config, input_shape=(TOKENS,))
    assert checkpoint.config.queries_are_input
    assert source.relative_l2 < 1e-5


def test_queries_as_an_input_beside_a_mask(tmp_path):
    samples = numbers(queries=(5, 7)) | {"mask": np.arange(TOKENS)[None] < np.arange(2, 10)[:, None]}
    bundle = perceiver_edge.compile(
        sharpened(package.PerceiverIO(**IO)), samples=samples, config={"num_queries": 5, "queries_are_input": True},
        input_shape=(TOKENS,), with_mask=True, quantize="none", formats=("onnx", "tflite"), num_samples=4,
        num_held_out=4, output=tmp_path / "out", cache=False,
    )  # fmt: skip
    assert bundle.parity.passed


def test_without_queries_the_latents_are_the_output(check):
    checkpoint, source = check(sharpened(package.PerceiverIO(**IO)), numbers()["input"], input_shape=(TOKENS,))
    assert not checkpoint.config.has_decoder
    assert source.relative_l2 < 1e-5


def test_a_language_model(check, texts):
    module = sharpened(package.PerceiverLM(**SIZES, dim=6, num_tokens=11, max_seq_len=TOKENS))
    checkpoint, source = check(module, texts)
    assert (checkpoint.config.model, checkpoint.config.num_tokens) == ("PerceiverLM", 11)
    assert source.relative_l2 < 1e-5


def test_a_module_that_does_more_is_refused(check):
    class More(Asking):
        def forward(self, data, mask=None):
            return super().forward(data, mask).tanh()

    with pytest.raises(BadInputError, match="computes something else"):
        check(sharpened(More()), numbers()["input"], input_shape=(TOKENS,))


def test_several_are_refused_by_name(check):
    class Two(Asking):
        def __init__(self):
            super().__init__()
            self.second = package.PerceiverIO(**IO)

    with pytest.raises(BadInputError, match="several PerceiverIOs") as caught:
        check(Two(), numbers()["input"], input_shape=(TOKENS,))
    assert "perceiver, second" in str(caught.value)
    assert "model.perceiver" in str(caught.value)


def test_one_that_is_wrapped_is_one():
    class Wrapped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("inner"), name)

    assert len(perceiver_io_models._perceivers(Wrapped(package.PerceiverIO(**IO)))) == 1


def test_of_several_queries_none_is_taken_for_the_decoders(check):
    module = sharpened(Asking())
    module.other = torch.nn.Module()
    module.other.register_buffer("queries", torch.zeros(4, 7))
    with pytest.raises(BadInputError, match="called queries") as caught:
        check(module, numbers()["input"], input_shape=(TOKENS,))
    assert "queries, other.queries" in str(caught.value)


def test_only_a_perceiver_io_takes_a_configuration(check):
    with pytest.raises(BadInputError, match="is not taken"):
        check(torch.nn.Linear(2, 2), numbers()["input"], config={"num_queries": 5}, input_shape=(TOKENS,))


@pytest.mark.parametrize(
    ("options", "num_queries"), [({}, 5), ({"weight_tie_layers": True, "decoder_ff": True}, 5), ({}, 0)], ids=str
)
def test_a_folder_is_compared_with_the_package(options, num_queries, check, tmp_path):
    module = sharpened(Asking(**options))
    values = {"model": "PerceiverIO", **IO, **options, "num_queries": num_queries, "input_shape": [TOKENS]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    weights = {name: tensor.numpy().copy() for name, tensor in module.perceiver.state_dict().items()}
    if num_queries:
        weights["queries"] = module.queries.detach().numpy()
    save_file(weights, tmp_path / "model.safetensors")
    _, source = check(tmp_path, numbers()["input"])
    assert source.compared_with == "perceiver-pytorch 0.11.0 with this configuration"
    assert source.relative_l2 < 1e-5


def test_a_folder_of_a_language_model_is_compared_with_the_package(check, texts, tmp_path):
    sizes = {**SIZES, "dim": 6, "num_tokens": 11, "max_seq_len": TOKENS}
    module = sharpened(package.PerceiverLM(**sizes))
    values = {"model": "PerceiverLM", **sizes, "input_shape": [TOKENS]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    weights = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    assert check(tmp_path, texts)[1].relative_l2 < 1e-5
