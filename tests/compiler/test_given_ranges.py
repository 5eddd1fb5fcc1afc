"""Ranges that a user gives: of this very model, and never proven with what they were observed on."""

import dataclasses

import numpy as np
import pytest

from perceiver_edge.calibration import Ranges
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.job import Job, prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError

CONFIG, SPEC = PRESETS["tiny"]
MODEL = Checkpoint(config=CONFIG, input_spec=SPEC, weights=init_weights(CONFIG, 0))
SAMPLES = np.random.default_rng(0).random((30, 16, 16, 3), np.float32)


@pytest.fixture
def prepared(tmp_path):
    def run(model: Checkpoint = MODEL, **options: object) -> Job:
        defaults = {"samples": SAMPLES, "num_samples": 12, "num_held_out": 10, "output": tmp_path / "out"}
        return prepare(Options(model, **{**defaults, **options}))

    return run


@pytest.fixture
def earlier(prepared) -> Ranges:
    """What a compilation with seed 0 would write, but for the points."""
    job = prepared()
    return Ranges(
        points={}, cores={}, method="minmax", num_samples=len(job.calibrating), source="arrays", is_random=False,
        digests=frozenset(job.calibrating.digests.values()), fingerprint=job.model.fingerprint,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_another_seed_proves_with_nothing_that_calibrated(seed, prepared, earlier):
    job = prepared(calibration=earlier, seed=seed)
    assert len(job.proving) == 10
    assert {*job.calibrating.digests.values()} == earlier.digests  # by which weights are rounded again
    assert not set(job.proving.digests.values()) & earlier.digests


def test_too_few_others_is_an_error(prepared, earlier):
    calibrated = np.stack([sample["input"] for sample in prepared().calibrating])
    with pytest.raises(BadInputError, match="that the calibration has not seen"):
        prepared(calibration=earlier, samples=calibrated)


@pytest.mark.parametrize(
    "change", [{"latent_heads": 4, "latent_dim_head": 8}, {"max_freq": 9.0}, {"freq_base": 2.0}], ids=str
)
def test_the_same_weights_in_another_architecture_are_another_model(change, prepared, earlier):
    other = Checkpoint(config=dataclasses.replace(CONFIG, **change), input_spec=SPEC, weights=MODEL.weights)
    with pytest.raises(BadInputError, match="made for another model"):
        prepared(other, calibration=earlier)


def test_another_input_shape_is_another_model(prepared, earlier):
    with pytest.raises(BadInputError, match="made for another model"):
        prepared(calibration=earlier, input_shape=(16, 8), samples=SAMPLES[:, :, :8])


def test_samples_of_an_earlier_calibration_that_are_gone_are_told(prepared, earlier):
    calibrated = [sample["input"] for sample in prepared().calibrating]
    others = np.random.default_rng(1).random((30, 16, 16, 3), np.float32)
    (told,) = prepared(calibration=earlier, samples=np.stack([*calibrated[:4], *others])).notices
    assert "Of the 12 samples of the calibration, 4 were found" in told
    assert not prepared(calibration=earlier).notices
