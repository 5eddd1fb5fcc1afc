"""What is compared: a model, our bundle of it, and the samples that all are calibrated and judged with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from natural import samples_file
from sources import Source

from perceiver_edge.bundle.evidence import read_held_out
from perceiver_edge.bundle.folder import Bundle, read_bundle
from perceiver_edge.calibration import Part, Ranges
from perceiver_edge.calibration.samples import sample_digest
from perceiver_edge.compiler.representative import choose_samples
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.errors import ConversionError
from perceiver_edge.progress import Progress
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.provenance import provenance

_ANY = {
    "relative_l2": 1e9, "cosine": -1, "top1_agreement": 0, "sensitivity_min": 0, "sensitivity_max": 1e9,
    "centred_cosine": -1,
}  # fmt: skip
"""Gates that let every int8 model through: the verdict is the benchmark's to show, for ours as for the others."""


@dataclass(frozen=True)
class Subject:
    """``calibration``: the samples that ours was calibrated with, ``[n, ...]`` by the name of the input.

    ``labels``: the right classes of the samples held out, as in `Source`; None where they are not known.
    """

    model: NamedModel
    bundle: Bundle
    calibration: dict[str, np.ndarray]
    held_out: HeldOut
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Chosen:
    """A model and its samples, before anything is compiled; ``data``: what ``--calibration-data`` takes, if needed."""

    model: NamedModel
    data: Path | None
    calibrating: Part
    proving: Part

    @property
    def calibration(self) -> dict[str, np.ndarray]:
        """As of a `Subject`."""
        rows = list(self.calibrating)
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def choose(source: Source, cache: Path) -> Chosen:
    """Find the model and its samples."""
    num_calibration, num_held_out = source.counts
    model = resolve_model(source.model, name=source.name, input_shape=source.input_shape)
    model = replace(model, is_random_weights=model.is_random_weights or source.has_random_weights)
    data = source.data
    if data is None and not model.is_digits:
        data = samples_file(model, cache, count=num_calibration + num_held_out)
    calibrating, proving = choose_samples(
        model, data, num_calibration=num_calibration, num_held_out=num_held_out, seed=0,
        held_out_data=source.held_out_data,
    )  # fmt: skip
    return Chosen(model, data, calibrating, proving)


def read_subject(source: Source, cache: Path, *, progress: Progress) -> Subject:
    """Find the model and its samples, and compile ours if it is not there or if the compiler has changed.

    Raises:
        ConversionError: our own compiler failed.
    """
    chosen = choose(source, cache)
    num_calibration, num_held_out = source.counts
    arguments = [
        "--model", str(source.model), "--name", source.name, "--num-samples", str(num_calibration),
        "--num-held-out", str(num_held_out), *(f"--gate={gate}={bound}" for gate, bound in _ANY.items()),
        *(("--only",) if source.is_int8_alone else ()),
        *(() if chosen.data is None else ("--calibration-data", str(chosen.data))),
        *(() if source.held_out_data is None else ("--held-out-data", str(source.held_out_data))),
        *(() if source.input_shape is None else ("--input-shape", ",".join(map(str, source.input_shape)))),
    ]  # fmt: skip
    bundle = _bundle(source.name, arguments, chosen.model, cache, progress)
    held_out = read_held_out(bundle)
    ranges = Ranges.from_json(bundle.read("calibration.json").decode(), where=bundle.path)
    digests = chosen.calibrating.digests.values()
    assert ranges.digests == set(digests), "the peers would be calibrated with other samples"
    asked = [sample_digest({name: rows[i] for name, rows in held_out.inputs.items()}) for i in range(len(held_out))]
    assert asked == list(chosen.proving.digests.values()), "others are held out"
    labels = held_out.labels if source.labels is None else source.labels[list(chosen.proving.digests)]
    return Subject(chosen.model, bundle, chosen.calibration, held_out, labels)


def _bundle(name: str, arguments: list[str], model: NamedModel, cache: Path, progress: Progress) -> Bundle:
    """In a process of its own: the compiler's memory goes back to the system before anything is timed."""
    key = hashlib.sha256(repr((arguments, model.fingerprint, provenance())).encode()).hexdigest()[:12]
    folder = cache.absolute() / f"{name}_ours_{key}"
    if not (folder / "manifest.json").exists():
        command = [
            sys.executable,
            "-m",
            "perceiver_edge.convert",
            *arguments,
            "--output",
            str(folder),
            "--quiet",
        ]
        with progress("compile ours"):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
            )
        if done.returncode != 0:
            raise ConversionError(
                "perceiver_edge could not compile the model.",
                got=f"exit code {done.returncode}: {done.stderr}",
                where=name,
            )
    return read_bundle(folder)
