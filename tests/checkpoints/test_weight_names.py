"""The canonical names, tied layers, and the names of perceiver-pytorch 0.8."""

import numpy as np
import pytest

from perceiver_edge.checkpoints import expected_shapes, fit_weights, init_weights, load_checkpoint
from perceiver_edge.errors import BadInputError

# state_dict() of perceiver-pytorch 0.8.8 with depth=1, self_per_cross_attn=1
NAMES_OF_0_8 = {
    "latents",
    "layers.0.0.fn.to_q.weight",
    "layers.0.0.fn.to_kv.weight",
    "layers.0.0.fn.to_out.weight",
    "layers.0.0.fn.to_out.bias",
    "layers.0.0.norm.weight",
    "layers.0.0.norm.bias",
    "layers.0.0.norm_context.weight",
    "layers.0.0.norm_context.bias",
    "layers.0.1.fn.net.0.weight",
    "layers.0.1.fn.net.0.bias",
    "layers.0.1.fn.net.2.weight",
    "layers.0.1.fn.net.2.bias",
    "layers.0.1.norm.weight",
    "layers.0.1.norm.bias",
    "layers.0.2.0.0.fn.to_q.weight",
    "layers.0.2.0.0.fn.to_kv.weight",
    "layers.0.2.0.0.fn.to_out.weight",
    "layers.0.2.0.0.fn.to_out.bias",
    "layers.0.2.0.0.norm.weight",
    "layers.0.2.0.0.norm.bias",
    "layers.0.2.0.1.fn.net.0.weight",
    "layers.0.2.0.1.fn.net.0.bias",
    "layers.0.2.0.1.fn.net.2.weight",
    "layers.0.2.0.1.fn.net.2.bias",
    "layers.0.2.0.1.norm.weight",
    "layers.0.2.0.1.norm.bias",
    "to_logits.1.weight",
    "to_logits.1.bias",
    "to_logits.2.weight",
    "to_logits.2.bias",
}


def with_copies(weights, last):
    copies = {n.replace("layers.1.", f"layers.{i}."): w for i in range(2, last + 1) for n, w in weights.items()}
    return {**copies, **weights}


def test_layout_is_that_of_the_golden_files(golden_case):
    assert {name: weight.shape for name, weight in golden_case.weights.items()} == expected_shapes(golden_case.config)


def test_names_of_0_8_are_mapped(tiny_config):
    config = tiny_config(depth=1)
    weights = init_weights(config, seed=0)
    parts = {"cross_attn": "0", "cross_ff": "1", "self_attns": "2"}
    old = {".".join(parts.get(part, part) for part in name.split(".")): weight for name, weight in weights.items()}
    assert set(old) == NAMES_OF_0_8

    fitted = fit_weights(config, old)

    assert list(fitted) == list(weights)
    assert all(fitted[name] is weight or np.array_equal(fitted[name], weight) for name, weight in weights.items())


def test_one_weight_under_both_names_is_refused(tiny_config):
    weights = init_weights(tiny_config(), seed=0)
    weights["layers.0.0.fn.to_q.weight"] = weights["layers.0.cross_attn.fn.to_q.weight"]
    with pytest.raises(BadInputError, match=r"layers\.0\.cross_attn\.fn\.to_q\.weight and layers\.0\.0\.fn"):
        fit_weights(tiny_config(), weights)


def test_tied_layers_are_stored_once(tiny_config):
    layers = {
        name.split(".")[1] for name in expected_shapes(tiny_config(depth=5, weight_tie_layers=True)) if "." in name
    }
    assert {"0", "1"} <= layers
    assert "2" not in {
        n.split(".")[1] for n in expected_shapes(tiny_config(depth=5, weight_tie_layers=True)) if "layers" in n
    }


def test_equal_copies_of_tied_layers_are_accepted(tiny_config):
    config = tiny_config(depth=4, weight_tie_layers=True)
    weights = init_weights(config, seed=0)
    assert list(fit_weights(config, with_copies(weights, last=3))) == list(weights)


def test_a_copy_that_differs_is_named(tiny_config):
    config = tiny_config(depth=4, weight_tie_layers=True)
    weights = with_copies(init_weights(config, seed=0), last=3)
    name = "layers.3.cross_ff.fn.net.0.bias"
    weights[name] = weights[name] + np.float32(1e-6)
    with pytest.raises(BadInputError, match=name):
        fit_weights(config, weights)


def test_a_layer_beyond_the_depth_is_unexpected(tiny_config):
    config = tiny_config(depth=3, weight_tie_layers=True)
    with pytest.raises(BadInputError, match=r"not as many as depth says(.|\n)*depth 4"):
        fit_weights(config, with_copies(init_weights(config, seed=0), last=3))


def test_random_weights_follow_the_seed_and_torchs_distributions(tiny_config):
    config = tiny_config(num_latents=64, latent_dim=64)
    weights = init_weights(config, seed=0)
    assert {name: (w.shape, w.dtype) for name, w in weights.items()} == {
        name: (shape, np.float32) for name, shape in expected_shapes(config).items()
    }
    np.testing.assert_array_equal(weights["latents"], init_weights(config, seed=0)["latents"])
    assert not np.array_equal(weights["latents"], init_weights(config, seed=1)["latents"])
    assert weights["latents"].std() == pytest.approx(1, rel=0.05)
    for name in ("layers.0.cross_ff.fn.net.0.weight", "layers.0.cross_ff.fn.net.0.bias"):
        assert np.abs(weights[name]).max() == pytest.approx(1 / 8, rel=0.02)
    assert (weights["to_logits.1.weight"] == 1).all()
    assert (weights["to_logits.1.bias"] == 0).all()


def test_a_tied_depth_that_the_file_contradicts_is_refused(tiny_config, tmp_path):
    """safetensors.torch.save_model keeps the names of shared tensors as metadata."""
    import json

    from safetensors.numpy import save_file

    config = tiny_config(depth=4, weight_tie_layers=True)
    weights = init_weights(config, 0)
    aliases = {
        name.replace("layers.1.", f"layers.{layer}."): name
        for name in weights
        if name.startswith("layers.1.")
        for layer in (2, 3)
    }
    save_file(weights, tmp_path / "model.safetensors", metadata=aliases)
    for depth in (3, 4, 5):
        (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | {"depth": depth}))
        if depth == 4:
            assert set(load_checkpoint(tmp_path).weights) == set(weights)
        else:
            with pytest.raises(BadInputError, match="depth 4"):
                load_checkpoint(tmp_path)
