"""From a bundle to all that a comparison needs: the weights it was made from, and the samples it was made with."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceiver_edge.bundle import Bundle, read_bundle
from perceiver_edge.errors import BadInputError
from perceiver_edge.held_out import HeldOut
from perceiver_edge.manifest import CalibrationInfo
from perceiver_edge.models import DIGITS, NamedModel, resolve_model
from perceiver_edge.representative import choose_samples

INPUT = "input"


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
    if found.checkpoint.fingerprint != manifest.weights_fingerprint:
        raise BadInputError(
            "The model is not the one that the bundle was made from.",
            expected=f"weights with the fingerprint {manifest.weights_fingerprint}",
            got=found.checkpoint.fingerprint, where=model or manifest.name,
            fix="pass --model with the folder, or --seed with the seed that the bundle was made with",
        )  # fmt: skip
    held_out = HeldOut.from_bytes(bundle.read("held_out.npz"), where=bundle.path / "held_out.npz")
    _require_one_sample_calls(bundle)
    calibration = _calibration(found, manifest.calibration, held_out, photos, seed)
    return Subject(bundle, found, calibration, held_out)


def _require_one_sample_calls(bundle: Bundle) -> None:
    for name, artefact in bundle.manifest.artefacts.items():
        if [(spec.name, spec.shape[0]) for spec in artefact.inputs] != [(INPUT, 1)]:
            raise BadInputError(
                "Peers are made for one sample a call and without a mask.",
                expected=f"one input {INPUT!r} with a batch of 1",
                got=", ".join(f"{spec.name} {list(spec.shape)}" for spec in artefact.inputs), where=name,
            )  # fmt: skip


def _calibration(
    model: NamedModel, info: CalibrationInfo, held_out: HeldOut, photos: Path | None, seed: int
) -> np.ndarray:
    """The same division of the same samples as the bundle's: the held-out side proves it."""
    calibrating, proving = choose_samples(
        model, _samples(model, info, photos), num_calibration=info.num_samples, num_held_out=len(held_out), seed=seed
    )
    same = len(proving) == len(held_out) and all(
        np.array_equal(sample[INPUT], known) for sample, known in zip(proving, held_out.inputs[INPUT], strict=True)
    )
    if not same:
        raise BadInputError(
            "These are not the samples that the bundle was made with, so its peers would be calibrated with others.",
            expected=f"{info.num_samples} calibration and {len(held_out)} held-out samples of {info.source}",
            got=f"other held-out samples from {calibrating.description}",
            fix="pass --photos with the folder, and --seed with the seed that the bundle was made with",
        )  # fmt: skip
    return np.stack([sample[INPUT] for sample in calibrating])


def _samples(model: NamedModel, info: CalibrationInfo, photos: Path | None) -> str | Path | None:
    """What `choose_samples` takes: the folder given, or what the manifest says."""
    if photos is not None:
        return photos
    if model.name == DIGITS:
        return None
    return "random" if info.is_random else info.source


def first_samples(held_out: HeldOut, count: int) -> HeldOut:
    """At most ``count`` of them."""
    return dataclasses.replace(
        held_out,
        inputs={name: values[:count] for name, values in held_out.inputs.items()},
        reference=held_out.reference[:count],
        labels=None if held_out.labels is None else held_out.labels[:count],
    )
