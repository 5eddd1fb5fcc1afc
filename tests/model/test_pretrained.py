"""A model saved to a folder comes back the same."""

import numpy as np
import pytest

from perceiver_edge import Perceiver
from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.config import InputSpec
from perceiver_edge.errors import BadInputError


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_gives_the_same_output(tmp_path, tied, tiny_config):
    model = Perceiver(**tiny_config(depth=3, weight_tie_layers=tied).to_dict())
    inputs = np.random.default_rng(0).standard_normal((2, 4, 5, 3), np.float32)

    model.save_pretrained(tmp_path, input_spec=InputSpec(shape=(4, 5)))
    loaded = Perceiver.from_pretrained(tmp_path)

    assert loaded.config == model.config
    assert load_checkpoint(tmp_path).input_spec == InputSpec(shape=(4, 5))
    np.testing.assert_array_equal(np.array(loaded(inputs)), np.array(model(inputs)))


def test_a_model_with_a_nan_is_not_saved(tmp_path, tiny_config):
    model = Perceiver(**tiny_config().to_dict())
    model.head.bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(BadInputError, match=r"to_logits\.2\.bias(.|\n)*1 of 3"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_float64_weights_keep_their_precision(tiny_config):
    model = Perceiver(**tiny_config().to_dict(), dtype="float64")
    weights = {name: weight + 1e-12 for name, weight in model.named_weights().items()}
    model.load_named_weights(weights)
    for name, weight in model.named_weights().items():
        np.testing.assert_array_equal(weight, weights[name], err_msg=name)
