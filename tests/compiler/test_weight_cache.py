"""LiteRT's weight cache and models whose layers are tied."""

import dataclasses

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.calibration import Range, Ranges
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load

SAMPLES = np.random.default_rng(0).standard_normal((16, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def tied():
    """Four layers, of which three have the same weights."""
    config, spec = PRESETS["tiny"]
    config = dataclasses.replace(config, depth=4, weight_tie_layers=True)
    return Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0))


@pytest.fixture(scope="module")
def compiled(tied, tmp_path_factory):
    def compiled(**options):
        return perceiver_edge.compile(
            tied, name="tied", samples=SAMPLES, num_samples=8, num_held_out=8, formats=("tflite",),
            gates={"top1_agreement": 0.0}, output=tmp_path_factory.mktemp("tied") / "bundle", **options,
        )  # fmt: skip

    return compiled


def test_tied_layers_give_the_plain_answers(compiled, tmp_path):
    """All uses of a weight have one range, and so one packing."""
    bundle = compiled()
    for name in ("tied_int8.tflite", "tied_fp32.tflite"):
        plain, cached = (load(bundle.path / name, **kw) for kw in ({}, {"weight_cache": tmp_path / "cache"}))
        np.testing.assert_array_equal(cached(SAMPLES[:1]), plain(SAMPLES[:1]))
    ranges = Ranges.from_json((bundle.path / "calibration.json").read_text())
    points = {
        name: Range(2 * values.min, 3 * values.max) if name.startswith("layers.3.") else values
        for name, values in ranges.points.items()
    }
    other = compiled(calibration=dataclasses.replace(ranges, points=points))
    with pytest.raises(BadInputError, match=r"(?s)weight cache.*omit weight_cache"):
        load(other.path / "tied_int8.tflite", weight_cache=tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())
