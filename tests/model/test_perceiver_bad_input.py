"""Every wrong call is one clear error."""

import os
import subprocess
import sys

import numpy as np
import pytest

from perceiver_edge import Perceiver
from perceiver_edge.errors import BadInputError

IMAGE = (2, 4, 5, 3)


@pytest.fixture(scope="module")
def model(tiny_config):
    return Perceiver(**tiny_config().to_dict())


@pytest.mark.parametrize(
    ("inputs", "mask", "message"),
    [
        (np.zeros(IMAGE[1:], "f4"), None, r"number of axes.*\n.*\[batch, height, width, 3\]\n.*\(4, 5, 3\)"),
        (np.zeros((2, 4, 5, 4), "f4"), None, r"number of channels.*\n.*\[batch, height, width, 3\]\n.*\(2, 4, 5, 4\)"),
        (np.zeros((2, 0, 5, 3), "f4"), None, r"at least 1.*\n.*\n.*\(2, 0, 5, 3\)"),
        (np.zeros(IMAGE, "u1"), None, r"wrong dtype.*\n.*floating point\n.*uint8"),
        (np.zeros(IMAGE, "f4"), np.ones((2, 5, 4), bool), r"mask does not fit.*\n.*\(2, 4, 5\)\n.*\(2, 5, 4\)"),
        (np.zeros(IMAGE, "f4"), np.ones((1, 4, 5), bool), r"mask does not fit.*\n.*\(2, 4, 5\)\n.*\(1, 4, 5\)"),
        (np.zeros(IMAGE, "f4"), np.ones((2, 20), bool), r"mask does not fit"),
        (np.zeros(IMAGE, "f4"), np.ones((2, 4, 5), "f4"), r"mask has the wrong dtype.*\n.*bool.*\n.*float32"),
    ],
)
def test_wrong_inputs_are_named(model, inputs, mask, message):
    with pytest.raises(BadInputError, match=r"\A[^\n]*" + message):
        model(inputs, mask=mask)


def test_an_option_out_of_range_is_named(tiny_config):
    with pytest.raises(BadInputError, match="'attn_dropout'"):
        Perceiver(**{**tiny_config().to_dict(), "attn_dropout": 1.5})


def test_weights_that_do_not_fit_leave_the_model_as_it_was(model):
    before = model.named_weights()
    wrong = {**{name: weight + 1 for name, weight in before.items()}, "to_logits.2.bias": np.zeros(4, np.float32)}
    with pytest.raises(BadInputError, match=r"to_logits\.2\.bias"):
        model.load_named_weights(wrong)
    np.testing.assert_array_equal(model.named_weights()["latents"], before["latents"])


@pytest.mark.parametrize(
    "setup",
    [
        "import os; os.environ['KERAS_BACKEND'] = 'numpy'",
        "import keras; keras.backend.backend = lambda: 'numpy'",
    ],
)
def test_another_keras_backend_is_refused_with_the_way_out(setup):
    script = f"{setup}\ntry:\n    from perceiver_edge import Perceiver\nexcept Exception as e:\n    print(repr(e), e)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "BadInputError" in result.stdout
    assert "'numpy'" in result.stdout
    assert "KERAS_BACKEND=tensorflow" in result.stdout


def test_a_missing_tensorflow_names_the_extra():
    script = (
        "from perceiver_edge import installation\n"
        "installation.distributions, installation.find_spec = list, lambda name: None\n"
        "try:\n    from perceiver_edge import Perceiver\nexcept Exception as e:\n    print(repr(e), e)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert "MissingExtraError" in result.stdout
    assert "perceiver-edge[tensorflow]" in result.stdout
