"""Files of weights alone: what they tell of the configuration, what is asked for, and what each other file is told."""

import dataclasses
import json
import pickle
import re
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from perceiver_edge.checkpoints import fit_weights, init_weights, load_checkpoint
from perceiver_edge.checkpoints.tensor_files import is_keras_file
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError, in_terminal

UNTOLD = {"max_freq": 6.0, "cross_heads": 1, "latent_heads": 2, "num_freq_bands": 2}
"""What the shapes of the grid's default configuration do not tell."""


@pytest.fixture
def weights(tiny_config):
    return init_weights(tiny_config(), seed=0)


@pytest.fixture
def file(tmp_path, weights):
    save_file(weights, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def told(path, **options):
    with pytest.raises(BadInputError) as caught:
        load_checkpoint(path, **options)
    return str(caught.value)


def of_0_8(name):
    parts = {"cross_attn": "0", "cross_ff": "1", "self_attns": "2"}
    return ".".join(parts.get(part, part) for part in name.split("."))


def of_0_7_4(name):
    return of_0_8(name).replace(".fn.to_out.", ".fn.to_out.0.").replace(".fn.net.2.", ".fn.net.3.")


def of_0_5(name):
    head = {"to_logits.1": "to_logits.0", "to_logits.2": "to_logits.1"}
    owner, _, kind = of_0_7_4(name).rpartition(".")
    return f"{head[owner]}.{kind}" if owner in head else of_0_7_4(name)


class TestPrefixes:
    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "net.encoder."])
    def test_a_wrappers_prefix_is_taken_off(self, prefix, weights, tiny_config):
        fitted = fit_weights(tiny_config(), {prefix + name: weight for name, weight in weights.items()})
        assert list(fitted) == list(weights)

    def test_a_counter_of_the_wrapper_is_no_weight(self, weights, tiny_config):
        averaged = {f"module.{name}": weight for name, weight in weights.items()} | {"n_averaged": np.array(3)}
        assert list(fit_weights(tiny_config(), averaged)) == list(weights)

    def test_weights_beside_the_perceiver_are_named(self, weights, tiny_config):
        wrapped = {f"model.{name}": weight for name, weight in weights.items()} | {"head.weight": np.ones((2, 3))}
        with pytest.raises(BadInputError, match=r"larger model(.|\n)*head\.weight(.|\n)*'model\.'"):
            fit_weights(tiny_config(), wrapped)

    def test_of_two_perceivers_none_is_chosen(self, weights, tiny_config):
        both = {prefix + name: weight for prefix in ("model.", "ema.") for name, weight in weights.items()}
        with pytest.raises(BadInputError, match=r"several Perceivers(.|\n)*'model\.', 'ema\.'"):
            fit_weights(tiny_config(), both)


class TestOldNames:
    @pytest.mark.parametrize(("rename", "freq_base"), [(of_0_8, None), (of_0_7_4, None), (of_0_7_4, 2), (of_0_5, 2)])
    def test_they_are_mapped(self, rename, freq_base, weights, tiny_config):
        old = {rename(name): weight for name, weight in weights.items()}
        assert len(old) == len(weights)
        fitted = fit_weights(tiny_config(freq_base=freq_base), old)
        for name, weight in weights.items():
            np.testing.assert_array_equal(fitted[name], weight, err_msg=name)

    def test_names_of_logarithmic_bands_bring_them(self, weights, tmp_path):
        save_file({of_0_5(name): weight for name, weight in weights.items()}, tmp_path / "a.safetensors")
        assert load_checkpoint(tmp_path / "a.safetensors", config=UNTOLD, input_shape=(4, 5)).config.freq_base == 2

    def test_and_contradict_linear_ones(self, weights, tiny_config):
        with pytest.raises(BadInputError, match=r"logarithmically(.|\n)*set freq_base to 2"):
            fit_weights(tiny_config(), {of_0_5(name): weight for name, weight in weights.items()})

    def test_names_that_two_kinds_of_bands_share_ask_which(self, weights, tmp_path):
        path = tmp_path / "a.safetensors"
        save_file({of_0_7_4(name): weight for name, weight in weights.items()}, path)
        message = told(path, config=UNTOLD, input_shape=(4, 5))
        assert "freq_base: 2 if perceiver-pytorch was 0.7.1 to 0.7.3, null if it was 0.7.4" in message
        for freq_base in (2, None):
            config = {**UNTOLD, "freq_base": freq_base}
            assert load_checkpoint(path, config=config, input_shape=(4, 5)).config.freq_base == freq_base


class TestShapes:
    @pytest.mark.parametrize("name", [*PRESETS])
    def test_they_tell_the_presets_but_for_what_nothing_tells(self, name, tmp_path):
        config, spec = PRESETS[name]
        small = dataclasses.replace(config, num_latents=4, num_classes=5, latent_dim=32)
        save_file(init_weights(small, 0), tmp_path / "a.safetensors")
        untold = {
            key: getattr(small, key)
            for key in ("max_freq", "cross_heads", "latent_heads", "input_channels", "fourier_encode_data")
        }
        if small.weight_tie_layers:  # stored once here, as safetensors does
            untold |= {"depth": small.depth, "weight_tie_layers": True}
        checkpoint = load_checkpoint(tmp_path / "a.safetensors", config=untold, input_shape=spec.shape)
        assert checkpoint.config == small

    def test_channels_of_a_head_tell_the_number_of_heads(self, file, tiny_config):
        config = {"max_freq": 6.0, "cross_dim_head": 4, "latent_dim_head": 4, "input_channels": 3}
        assert load_checkpoint(file, config=config, input_shape=(4, 5)).config == tiny_config()

    def test_equal_layers_from_the_second_on_are_tied(self, tmp_path, tiny_config):
        config = tiny_config(depth=4, weight_tie_layers=True)
        weights = init_weights(config, 0)
        copies = {n.replace("layers.1.", f"layers.{i}."): w.copy() for i in (2, 3) for n, w in weights.items()}
        save_file(copies | weights, tmp_path / "a.safetensors")
        assert load_checkpoint(tmp_path / "a.safetensors", config=UNTOLD, input_shape=(4, 5)).config == config

    def test_the_rest_is_asked_for_by_name_in_one_error(self, file):
        with in_terminal():
            message = told(file)
        for line in (
            "cross_heads: cross_heads × cross_dim_head is 4; perceiver-pytorch's default is 1",
            "latent_heads: latent_heads × latent_dim_head is 8",
            "num_freq_bands: input_channels + input_axis × (2 × num_freq_bands + 1) is 13; 2 with 3 input channels",
            "max_freq: as Perceiver(…) was given it",
            "input_shape: the sizes of the input axes",
            "num_latents 4, latent_dim 6, depth 2",
            "--config cross_heads=…,latent_heads=…,num_freq_bands=2,max_freq=… --input-shape …",
        ):
            assert line in message, line
        python = "config={'cross_heads': '…', 'latent_heads': '…', 'num_freq_bands': 2, 'max_freq': '…'}"
        assert python in told(file)

    def test_nothing_is_assumed(self, file):
        for name in UNTOLD:
            rest = {key: value for key, value in UNTOLD.items() if key != name}
            assert re.search(rf"\n +{name}: ", told(file, config=rest, input_shape=(4, 5)))

    def test_a_config_json_beside_the_file_is_read(self, file, tiny_config):
        values = {**UNTOLD, "input_shape": [4, 5], "class_names": ["ant", "bee", "cat"]}
        (file.parent / "config.json").write_text(json.dumps(values))
        checkpoint = load_checkpoint(file)
        assert checkpoint.config == tiny_config()
        assert checkpoint.class_names == ("ant", "bee", "cat")
        assert load_checkpoint(file, config={"max_freq": 9.0}).config.max_freq == 9

    def test_what_a_config_json_leaves_out_is_the_constructors_default(self, tmp_path, tiny_config):
        config = tiny_config(latent_heads=8, latent_dim_head=64, cross_dim_head=64)
        save_file(init_weights(config, 0), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps({"num_freq_bands": 2, "max_freq": 6.0, "input_shape": [4, 5]}))
        assert load_checkpoint(tmp_path).config == config

    def test_what_is_given_and_does_not_fit_is_an_error(self, file):
        assert "latents has the wrong shape" in told(file, config={**UNTOLD, "num_latents": 9}, input_shape=(4, 5))
        message = told(file, config={**UNTOLD, "latent_heads": 3}, input_shape=(4, 5))
        assert "latent_heads does not fit" in message
        assert "latent_heads × latent_dim_head = 8" in message


OFF = [
    {"inverted_cross_attn": False},
    {"inverted_cross_attn": [False, False]},
    {"attn_residual": False, "attn_residual_rank": 64},
    {"queries_contribute_kv": False},
    {"self_attn_rel_pos": False},
]
ON = [
    {"queries_contribute_kv": True},
    {"self_attn_rel_pos": True},
]


@pytest.mark.parametrize("keys", OFF, ids=str)
def test_arguments_of_perceiver_pytorch_that_are_off_change_nothing(keys, file, tiny_config):
    assert load_checkpoint(file, config={**UNTOLD, **keys}, input_shape=(4, 5)).config == tiny_config()


@pytest.mark.parametrize("keys", ON, ids=str)
def test_and_those_that_are_on_are_named(keys, file):
    assert f"trained with {next(iter(keys))}, which" in told(file, config={**UNTOLD, **keys}, input_shape=(4, 5))


@pytest.mark.parametrize("keys", [{"inverted_cross_attn": True}, {"inverted_cross_attn": [False, True]}], ids=str)
def test_inversion_is_told_by_no_weight_and_taken_from_the_configuration(keys, file):
    config = load_checkpoint(file, config={**UNTOLD, **keys}, input_shape=(4, 5)).config
    assert config.inverted_layers == ((True, True) if keys["inverted_cross_attn"] is True else (False, True))


@pytest.mark.parametrize("value", [[True], [True, True, True], "yes", 1, [1, 0]], ids=str)
def test_an_inversion_that_does_not_fit_is_named(value, file):
    assert "inverted_cross_attn" in told(file, config={**UNTOLD, "inverted_cross_attn": value}, input_shape=(4, 5))


def test_attention_residuals_are_told_by_their_weights(tiny_config, tmp_path):
    config = tiny_config(depth=3, weight_tie_layers=True, attn_residual=True, attn_residual_rank=3)
    weights = init_weights(config, seed=0)
    copies = {re.sub(r"^(layers|attn_residuals)\.1\.", r"\1.2.", name): weight for name, weight in weights.items()}
    save_file({**weights, **copies}, tmp_path / "a.safetensors")  # as torch writes a shared module
    checkpoint = load_checkpoint(tmp_path / "a.safetensors", config=UNTOLD, input_shape=(4, 5))
    assert checkpoint.config == config
    assert list(checkpoint.weights) == list(weights)


@pytest.mark.parametrize(
    "names",
    [
        ["conv1.weight", "bn1.running_mean", "fc.bias"],
        ["encoder.layers.0.self_attn.in_proj_weight", "cls_token"],
        ["0.weight"],
    ],
)
@pytest.mark.parametrize("config", [None, UNTOLD])
def test_weights_of_no_perceiver_are_refused_before_anything_is_asked(names, config, tmp_path):
    save_file({name: np.ones((2, 2), "f4") for name in names}, tmp_path / "a.safetensors")
    message = told(tmp_path / "a.safetensors", config=config, input_shape=(4, 5))
    assert message.startswith("These are not the weights of a Perceiver.")
    assert names[0] in message


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["perceiver.embeddings.latents", "perceiver.encoder.self_attends.0.attention.self.query.weight"], "transform"),
        (
            ["latents", "cross_attend_block.cross_attn.fn.to_q.weight", "layers.0.self_attns.0.0.norm.bias"],
            "PerceiverIO",
        ),
        (["perceiver_io.latents", "token_emb.weight", "perceiver_io.decoder_cross_attn.norm.bias"], "PerceiverIO"),
        (["latents", "layers.0.0.fn.norm.weight", "layers.0.0.gru.weight_ih", "to_logits.0.weight"], "gated"),
        (["latents", "layers.0.2.fn.0.weight", "layers.0.2.fn.3.weight", "to_logits.0.weight"], "mixed latents"),
        (["latents", "data_proj.weight", "layers.0.4.fn.to_qkv.weight"], "experimental"),
        (["latents", "sinu_emb.inv_freq", "layers.0.0.norm.weight"], "rotary"),
        (["latents", "layers.0.2.fn.to_q.weight", "layers.0.3.norm.weight"], "perceiver-pytorch 0.1"),
        (["net.token_emb.weight", "net.perceive_layers.0.0.to_q.weight"], "autoregressive"),
        (["0.latent_provider._query", "0.cross_attn_1.0.module.q_norm.weight"], "krasserm"),
        (["latents", "media_pos_emb", "layers.0.0.norm_media.weight"], "resampler"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_another_family_are_refused_by_name(prefix, names, family, tmp_path):
    save_file({prefix + name: np.ones((2, 2), "f4") for name in names}, tmp_path / "a.safetensors")
    message = told(tmp_path / "a.safetensors", config=UNTOLD, input_shape=(4, 5))
    assert family in message.splitlines()[0]
    assert "fix:" in message


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pystate", pickle.dumps({"perceiver_encoder": {"w": [1.0]}}), "JAX and Haiku"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file"),
        ("a.tflite", b"\x1c\0\0\0TFL3" + bytes(90), "a compiled model"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.bin", bytes(range(100)), "a file that begins with"),
        ("a.bin", b"", "an empty file"),
        ("a.msgpack", b"\x81" * 90, "a .msgpack file"),
    ],
)
def test_files_of_other_kinds_are_told_what_they_are(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert said in told(tmp_path / name, config=UNTOLD, input_shape=(4, 5))


def test_of_several_files_in_a_folder_none_is_chosen(file):
    (file.parent / "older.pt").write_bytes(b"")
    assert "several files of weights" in told(file.parent)
    assert "older.pt, weights.safetensors" in told(file.parent)


class TestTorch:
    @pytest.fixture
    def state(self, weights):
        torch = pytest.importorskip("torch")
        return {name: torch.from_numpy(weight) for name, weight in weights.items()}

    def read(self, path, **config):
        return load_checkpoint(path, config={**UNTOLD, **config}, input_shape=(4, 5))

    @pytest.mark.parametrize("name", ["a.pt", "a.pth", "pytorch_model.bin", "no_suffix"])
    @pytest.mark.parametrize("is_zip", [True, False])
    def test_a_state_dict(self, name, is_zip, state, weights, tmp_path):
        import torch

        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        read = self.read(tmp_path / name).weights
        for key, weight in weights.items():
            np.testing.assert_array_equal(read[key], weight)

    def test_a_folder_with_one(self, state, tmp_path, tiny_config):
        import torch

        torch.save(state, tmp_path / "pytorch_model.bin")
        (tmp_path / "config.json").write_text(json.dumps({**tiny_config().to_dict(), "input_shape": [4, 5]}))
        assert load_checkpoint(tmp_path).config == tiny_config()

    def test_half_precision_is_what_it_is(self, state, tmp_path):
        import torch

        for dtype in (torch.bfloat16, torch.float16):
            torch.save({name: tensor.to(dtype) for name, tensor in state.items()}, tmp_path / "a.pt")
            read = self.read(tmp_path / "a.pt").weights["latents"]
            np.testing.assert_array_equal(read, state["latents"].to(dtype).float().numpy())

    def test_a_lightning_checkpoint_brings_its_arguments(self, state, tmp_path, tiny_config):
        import torch

        checkpoint = {
            "epoch": 3, "hyper_parameters": {**UNTOLD, "learning_rate": 1e-3}, "callbacks": {}, "lr_schedulers": [],
            "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        }  # fmt: skip
        torch.save(checkpoint, tmp_path / "last.ckpt")
        assert load_checkpoint(tmp_path / "last.ckpt", input_shape=(4, 5)).config == tiny_config()

    def test_of_two_models_in_a_checkpoint_none_is_chosen(self, state, tmp_path):
        import torch

        torch.save({"model": state, "ema": {"shadow": state}}, tmp_path / "a.pt")
        message = told(tmp_path / "a.pt")
        assert "['model'], ['ema']['shadow']" in message
        assert "weights_only=True)['model']" in message

    def test_a_whole_module_is_not_unpickled(self, tmp_path):
        torch = pytest.importorskip("torch")
        torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
        message = told(tmp_path / "a.pt")
        assert "could run any code" in message
        assert "torch.nn.modules.linear.Linear" in message
        assert "weights_only=False).state_dict()\n" in message

    @pytest.mark.filterwarnings("ignore")
    def test_torchscript_is_told_apart(self, tmp_path):
        torch = pytest.importorskip("torch")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "a.pt")
        assert "TorchScript" in told(tmp_path / "a.pt")
        assert 'torch.jit.load("a.pt").state_dict()' in told(tmp_path / "a.pt")

    @pytest.mark.parametrize("keep", [0.3, 0.9, 0.99])
    def test_a_truncated_file(self, keep, state, tmp_path):
        import torch

        torch.save(state, tmp_path / "a.pt")
        content = (tmp_path / "a.pt").read_bytes()
        (tmp_path / "a.pt").write_bytes(content[: int(keep * len(content))])
        assert "damaged" in told(tmp_path / "a.pt")

    @pytest.mark.parametrize("name", ["weights.pt", "model.keras"])
    def test_an_archive_whose_directory_is_damaged(self, name, state, tmp_path):
        import torch

        torch.save(state, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content.replace(b"PK\x01\x02", b"XXXX", 1))  # of the first file in it
        assert not is_keras_file(tmp_path / name)
        assert "The weights are damaged" in told(tmp_path / name)

    def test_no_weights(self, tmp_path):
        torch = pytest.importorskip("torch")
        torch.save({"epoch": 3}, tmp_path / "a.pt")
        assert "There are no weights in the file" in told(tmp_path / "a.pt")

    def test_a_file_of_hugging_face_alone_says_to_pass_the_folder(self, tmp_path):
        torch = pytest.importorskip("torch")
        torch.save({"perceiver.embeddings.latents": torch.ones(2, 2)}, tmp_path / "pytorch_model.bin")
        assert "pass the folder" in told(tmp_path / "pytorch_model.bin")

    def test_without_torch_three_lines_help(self, state, tmp_path, monkeypatch):
        import torch

        torch.save(state, tmp_path / "a.pt")
        monkeypatch.setitem(sys.modules, "torch", None)
        message = told(tmp_path / "a.pt")
        for line in (
            "import torch, safetensors.torch",
            'torch.load("a.pt", weights_only=True)',
            "--model a.safetensors",
        ):
            assert line in message
