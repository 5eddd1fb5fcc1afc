"""LiteRT's weight cache and models whose layers are tied."""

import dataclasses

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load

SAMPLES = np.random.default_rng(0).standard_normal((16, 16, 16, 3)).astype(np.float32)


def test_tied_int8_layers_give_the_plain_answers_or_are_refused(tmp_path):
    """XNNPACK takes one packing for all layers that share a weight, whatever their zero points."""
    config, spec = PRESETS["tiny"]
    config = dataclasses.replace(config, depth=4, weight_tie_layers=True)
    checkpoint = Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0))
    bundle = perceiver_edge.compile(
        checkpoint, name="tied", samples=SAMPLES, num_samples=8, num_held_out=8, formats=("tflite",),
        gates={"top1_agreement": 0.0}, output=tmp_path / "bundle",
    )  # fmt: skip
    with pytest.raises(BadInputError, match=r"(?s)weight cache.*omit weight_cache"):
        load(bundle.path / "tied_int8.tflite", weight_cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
    plain, cached = (load(bundle.path / "tied_fp32.tflite", **kw) for kw in ({}, {"weight_cache": tmp_path / "cache"}))
    np.testing.assert_array_equal(cached(SAMPLES[:1]), plain(SAMPLES[:1]))
