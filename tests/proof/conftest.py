"""Compiled models and their held-out samples, each made once for the whole suite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceiver_edge.calibration import ArraySource, Ranges
from perceiver_edge.calibration.product_inputs import product_inputs
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.artefacts import FORMATS, Kind, build
from perceiver_edge.compiler.cores import calibrate
from perceiver_edge.compiler.representative import choose_samples
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.config import InputSpec
from perceiver_edge.proof.gates import PRECISIONS, Gates
from perceiver_edge.proof.held_out import HeldOut, ask_reference
from perceiver_edge.proof.inside import layer_reference
from perceiver_edge.proof.parity import ArtefactParity
from perceiver_edge.proof.prove import prove

NUM_CALIBRATION = 32
NUM_HELD_OUT = 64
BATCH = {"image_batch_of_five": 5, "tied": 2}
"""All other cases are compiled for one sample, as most people deploy."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model in every format and precision, with what is needed to prove each artefact."""

    model: NamedModel
    artefacts: Mapping[Kind, bytes]
    held_out: HeldOut
    layers: Mapping[str, np.ndarray]
    integer_model: Callable[[Kind, bytes], Any]

    def prove(self, format_: str, precision: str, *, content: bytes | None = None, gates: Gates | None = None) -> Any:
        """Hold an artefact, or ``content`` in its place, to its precision's gates."""
        kind = Kind(format_, precision)
        parity: ArtefactParity = prove(
            kind.file_name(self.model.name),
            self.artefacts[kind] if content is None else content,
            self.held_out,
            precision=precision,
            gates=gates or Gates.for_precision(precision),
            is_classifier=self.model.checkpoint.config.final_classifier_head,
            layer_reference=self.layers,
            expect_layers=self.integer_model(kind, content or self.artefacts[kind]),
        )
        return parity


@pytest.fixture(scope="session")
def subject(pytestconfig: pytest.Config) -> Callable[[str], Subject]:
    """The `Subject` of ``digits`` (trained, real data) or of a case of the grid (random weights, random data)."""
    shared = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).parents[1] / "conftest.py"))
    cases = {case.name: case for case in shared.load_grid()}
    made: dict[str, Subject] = {}

    def get(name: str) -> Subject:
        if name not in made:
            made[name] = _digits() if name == "digits" else _of_the_grid(cases[name])
        return made[name]

    return get


def _digits() -> Subject:
    model = resolve_model("digits")
    calibrating, proving = choose_samples(model, None, num_calibration=128, num_held_out=100, seed=0)
    return _compiled(model, calibrating, proving, batch=1, with_mask=False)


def _of_the_grid(case: Any) -> Subject:
    spec = InputSpec(shape=case.input_shape)
    # Untrained, what a cross-attend adds to the latents is too small to matter; 40 times as much has to survive.
    weights = {
        name: 40 * weight if name.endswith("cross_attn.fn.to_out.weight") else weight
        for name, weight in init_weights(case.config, seed=0).items()
    }
    checkpoint = Checkpoint(config=case.config, input_spec=spec, weights=weights)
    model = NamedModel(name=case.name, checkpoint=checkpoint, input_spec=spec, is_random_weights=True, is_digits=False)
    with_mask = case.mask != "none"
    calibrating, proving = (
        _random_samples(model, count, seed=seed, with_mask=with_mask)
        for seed, count in enumerate((NUM_CALIBRATION, NUM_HELD_OUT))
    )
    return _compiled(model, calibrating, proving, batch=BATCH.get(case.name, 1), with_mask=with_mask)


def _random_samples(model: NamedModel, count: int, *, seed: int, with_mask: bool) -> ArraySource:
    random = np.random.default_rng(seed)
    arrays = {"input": random.normal(size=(count, *model.sample_shape)).astype(np.float32)}
    if with_mask:
        arrays["mask"] = random.uniform(size=(count, *model.input_spec.shape)) < 0.7
    return ArraySource(arrays, shape=model.sample_shape, description="normal noise")


def _compiled(model: NamedModel, calibrating: Any, proving: Any, *, batch: int, with_mask: bool) -> Subject:
    from perceiver_edge.compiler.deployment import deploy

    deployment = deploy(model, batch=batch, with_mask=with_mask)
    kinds = tuple(Kind(format_, precision) for format_ in FORMATS for precision in PRECISIONS)
    points, cores, _ = calibrate(deployment.survey, deployment.losses, calibrating)
    ranges = Ranges(
        points=points, cores=cores, method="minmax", num_samples=len(calibrating), source="", is_random=True,
        digests=frozenset(), fingerprint=model.fingerprint,
    )  # fmt: skip
    inputs = functools.cache(lambda: product_inputs(deployment.taps, calibrating))
    artefacts = build(
        deployment.traced,
        kinds,
        half_traced=deployment.half_traced,
        opset=18,
        integer_form=functools.partial(deployment.integer_form, ranges),
        product_inputs=inputs,
    )
    held_out = ask_reference(model.proven_against, proving, with_mask=with_mask, on_progress=lambda _: None)
    layers = layer_reference(deployment.taps, held_out)
    return Subject(model, artefacts, held_out, layers, functools.partial(deployment.integer_model, ranges, inputs))
