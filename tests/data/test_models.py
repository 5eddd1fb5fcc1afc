"""What a model is recognised by."""

import dataclasses

import pytest

from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.config import PRESETS

CONFIG, SPEC = PRESETS["tiny"]
WEIGHTS = init_weights(CONFIG, 0)


def model(*, shape: tuple[int, ...] = SPEC.shape, name: str = "mine", seed: int = 0, **changes: object) -> NamedModel:
    config = dataclasses.replace(CONFIG, **changes)
    checkpoint = Checkpoint(
        config=config, input_spec=None, weights=WEIGHTS if seed == 0 else init_weights(config, seed)
    )
    return resolve_model(checkpoint, input_shape=shape, name=name)


@pytest.mark.parametrize(
    "change",
    [
        {"latent_heads": 4, "latent_dim_head": 8},
        {"cross_heads": 2, "cross_dim_head": 8},
        {"max_freq": 9.0},
        {"freq_base": 2.0},
        {"shape": (16, 24)},
        {"seed": 1},
    ],
    ids=str,
)
def test_what_changes_the_computation_changes_the_fingerprint(change: dict) -> None:
    assert model(**change).fingerprint != model().fingerprint


def test_neither_the_name_nor_how_a_number_is_written_changes_it() -> None:
    assert model(max_freq=8).fingerprint == model(max_freq=8.0).fingerprint
    assert model(name="yours").fingerprint == model().fingerprint
    assert len(model().fingerprint) == 64
