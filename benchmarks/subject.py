"""From a bundle to all that a comparison needs: the weights it was made from, and the samples it was made with."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceiver_edge.bundle import Bundle, read_bundle
from perceiver_edge.calibration import Ranges
from perceiver_edge.calibration.samples import sample_digest
from perceiver_edge.errors import BadInputError
from perceiver_edge.held_out import HeldOut
from perceiver_edge.models import DIGITS, NamedModel, resolve_model
from perceiver_edge.representative import choose_samples

INPUT, CALIBRATION = "input", "calibration.json"


@dataclass(frozen=True)
class Subject:
    """``calibration``: the samples that the bundle was calibrated with, float32 ``[n, *axes, channels]``."""

    bundle: Bundle
    model: NamedModel
    calibration: np.ndarray
    held_out: HeldOut


def read_subject(
    bundle_folder: Path, *, model: str | os.PathLike[str] | None, photos: Path | None, seed: int
) -> Subject:
    """Read the bundle, find its model and its calibration samples again, and check that they are the same.

    Args:
        model: where the weights are, if not under the bundle's name.
        photos: where the samples are, if not where the manifest says.
        seed: what the bundle was made with.

    Raises:
        BadInputError: no bundle, other weights, other samples, or a kind of bundle that peers cannot be made for.
    """
    bundle = read_bundle(bundle_folder)
    manifest = bundle.manifest
    if manifest.calibration is None:
        raise BadInputError(
            "The bundle was made without calibration, so its peers would have no samples to calibrate with.",
            expected="a bundle made with --quantize int8", where=bundle.path,
        )  # fmt: skip
    found = resolve_model(model or manifest.name, name=manifest.name, input_shape=manifest.input_spec.shape, seed=seed)
    ranges = Ranges.from_json(bundle.read(CALIBRATION).decode(), where=bundle.path / CALIBRATION)
    if found.fingerprint != ranges.fingerprint:
        raise BadInputError(
            "The model is not the one that the bundle was made from.",
            expected=f"a model with the fingerprint {ranges.fingerprint}",
            got=found.fingerprint, where=model or manifest.name,
            fix="pass --model with the folder, or --seed with the seed that the bundle was made with",
        )  # fmt: skip
    held_out = HeldOut.from_bytes(bundle.read("held_out.npz"), where=bundle.path / "held_out.npz")
    _require_one_sample_calls(bundle)
    calibration = _calibration(found, ranges, held_out, photos, seed)
    return Subject(bundle, found, calibration, held_out)


def _require_one_sample_calls(bundle: Bundle) -> None:
    for name, artefact in bundle.manifest.artefacts.items():
        if [(spec.name, spec.shape[0]) for spec in artefact.inputs] != [(INPUT, 1)]:
            raise BadInputError(
                "Peers are made for one sample a call and without a mask.",
                expected=f"one input {INPUT!r} with a batch of 1",
                got=", ".join(f"{spec.name} {list(spec.shape)}" for spec in artefact.inputs), where=name,
            )  # fmt: skip


def _calibration(model: NamedModel, ranges: Ranges, held_out: HeldOut, photos: Path | None, seed: int) -> np.ndarray:
    """The same division of the same samples as the bundle's, by their digests."""
    calibrating, proving = choose_samples(
        model,
        _samples(model, ranges, photos),
        num_calibration=ranges.num_samples,
        num_held_out=len(held_out),
        seed=seed,
    )
    known = {sample_digest({INPUT: values}) for values in held_out.inputs[INPUT]}
    if set(calibrating.digests.values()) != ranges.digests or set(proving.digests.values()) != known:
        raise BadInputError(
            "These are not the samples that the bundle was made with, so its peers would be calibrated with others.",
            expected=f"{ranges.num_samples} calibration and {len(held_out)} held-out samples of {ranges.source}",
            got=f"others from {calibrating.description}",
            fix="pass --photos with the folder, and --seed with the seed that the bundle was made with",
        )  # fmt: skip
    return np.stack([sample[INPUT] for sample in calibrating])


def _samples(model: NamedModel, ranges: Ranges, photos: Path | None) -> str | Path | None:
    """What `choose_samples` takes: the folder given, or what the calibration says."""
    if photos is not None:
        return photos
    if model.name == DIGITS:
        return None
    return "random" if ranges.is_random else ranges.source


def first_samples(held_out: HeldOut, count: int) -> HeldOut:
    """At most ``count`` of them."""
    return dataclasses.replace(
        held_out,
        inputs={name: values[:count] for name, values in held_out.inputs.items()},
        reference=held_out.reference[:count],
        labels=None if held_out.labels is None else held_out.labels[:count],
    )
