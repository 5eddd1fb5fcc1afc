"""Side by side with the installed perceiver-pytorch: the whole grid, the README model included."""

import re

import numpy as np
import pytest

from perceiver_edge import Perceiver
from perceiver_edge.checkpoints import Checkpoint, init_weights, load_checkpoint, save_checkpoint

torch = pytest.importorskip("torch")
perceiver_pytorch = pytest.importorskip("perceiver_pytorch")


def torch_model(config, weights):
    options = config.to_dict()
    assert options.pop("freq_base") is None  # perceiver-pytorch 0.11 has linear bands only
    model = perceiver_pytorch.Perceiver(**options).eval()
    # torch lists tied layers once for each use
    state = {
        name: torch.from_numpy(
            weights[name if name in weights else re.sub(r"^(layers|attn_residuals)\.\d+", r"\1.1", name)]
        )
        for name in model.state_dict()
    }
    model.load_state_dict(state)
    return model


def uneven_weights(config, seed):
    """Random weights with LayerNorms that are not the identity."""
    random = np.random.default_rng(seed)
    weights = init_weights(config, seed)
    return {n: w + 0.2 * random.standard_normal(w.shape, np.float32) if w.ndim == 1 else w for n, w in weights.items()}


def test_output_equals_the_installed_perceiver_pytorch(grid_case):
    random = np.random.default_rng(7)
    weights = uneven_weights(grid_case.config, seed=3)
    axes = (grid_case.batch, *grid_case.input_shape)
    inputs = random.standard_normal((*axes, grid_case.config.input_channels), np.float32)
    mask = None if grid_case.mask == "none" else random.random(axes) < 0.5
    if grid_case.mask == "first_sample_empty":
        mask[0] = False

    with torch.no_grad():
        theirs = torch_model(grid_case.config, weights)(
            torch.from_numpy(inputs), mask=None if mask is None else torch.from_numpy(mask)
        ).numpy()
    ours = Perceiver.from_checkpoint(Checkpoint(config=grid_case.config, input_spec=None, weights=weights))
    output = np.array(ours(inputs, mask=mask))

    assert np.linalg.norm(output - theirs) / np.linalg.norm(theirs) < 1e-5


@pytest.mark.parametrize("tied", [False, True])
def test_weights_travel_between_both_libraries_in_one_format(tmp_path, tied, tiny_config):
    from safetensors.torch import load_file, save_model

    config = tiny_config(depth=3, weight_tie_layers=tied)
    weights = uneven_weights(config, seed=1)
    checkpoint = Checkpoint(config=config, input_spec=None, weights=weights)
    save_checkpoint(checkpoint, tmp_path)
    model = torch_model(config, {name: t.numpy() for name, t in load_file(tmp_path / "model.safetensors").items()})

    save_model(model, str(tmp_path / "model.safetensors"))

    assert load_checkpoint(tmp_path).fingerprint == checkpoint.fingerprint
