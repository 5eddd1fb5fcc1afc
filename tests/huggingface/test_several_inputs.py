"""A model of several inputs, from its folder to a proven bundle: video and sound, and the label."""

from __future__ import annotations

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.calibration import open_source
from perceiver_edge.errors import BadInputError

SMALL_INT8 = {"relative_l2": 0.1, "centred_cosine": 0.8, "sensitivity_min": 0.8, "sensitivity_max": 1.25}
"""Int8 with random weights of 32 channels loses more than a model of published size."""


@pytest.fixture
def samples(named_case):
    case, random = named_case("multimodal"), np.random.default_rng(0)
    return {name: random.standard_normal((12, *one.shape[1:])).astype("f4") for name, one in case.feeds.items()}


def test_a_bundle_of_two_inputs_is_proven(named_case, folder, samples, tmp_path):
    path = folder(named_case("multimodal"), outputs=None)
    np.savez(tmp_path / "samples.npz", **samples)
    bundle = perceiver_edge.compile(
        path, outputs="label", input_shape=(3, 16, 12), samples=tmp_path / "samples.npz", num_samples=6, num_held_out=6,
        formats=("tflite",), gates=SMALL_INT8, output=tmp_path / "bundle",
    )  # fmt: skip
    run = bundle.load("int8", "tflite")
    assert sorted(run.inputs) == ["audio", "input"]
    one = {name: values[:1] for name, values in samples.items()}
    silent = {**one, "audio": np.zeros_like(one["audio"])}
    assert run(one).shape == (1, 7)
    assert np.abs(run(one) - run(silent)).max() > 1e-3  # both inputs are read


@pytest.mark.parametrize("without", ["audio", "input"])
def test_all_inputs_are_asked_for(without, samples, tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, **{name: values for name, values in samples.items() if name != without})
    with pytest.raises(BadInputError, match=r"'input', 'audio'"):
        open_source(str(path), shape=(3, 16, 12, 3), beside={"audio": (96, 1)})


def test_each_input_has_its_own_shape(samples, tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, input=samples["input"], audio=samples["audio"][:, :90])
    with pytest.raises(BadInputError, match=r"(?s)96, 1.*audio"):
        open_source(str(path), shape=(3, 16, 12, 3), beside={"audio": (96, 1)})


def test_random_samples_have_all_inputs():
    one = next(iter(open_source("random", shape=(3, 16, 12, 3), beside={"audio": (96, 1)})))
    assert {name: values.shape for name, values in one.items()} == {"input": (3, 16, 12, 3), "audio": (96, 1)}


def test_a_mask_is_for_models_of_one_input(named_case, folder, samples, tmp_path):
    with pytest.raises(BadInputError, match="one input"):
        perceiver_edge.compile(
            folder(named_case("multimodal"), outputs=None), outputs="label", input_shape=(3, 16, 12), with_mask=True,
            samples=samples, output=tmp_path / "bundle",
        )  # fmt: skip
    assert not (tmp_path / "bundle").exists()


def test_outputs_and_positions_are_chosen_only_where_there_are_others():
    for chosen in ({"outputs": "label"}, {"positions": (1,)}):
        with pytest.raises(BadInputError, match="Hugging Face"):
            perceiver_edge.compile("tiny", samples="random", **chosen)
