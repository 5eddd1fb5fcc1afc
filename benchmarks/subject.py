"""What is compared: a model, our bundle of it, and the samples that all are calibrated and judged with."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from natural import samples_file

from perceiver_edge.bundle.evidence import read_held_out
from perceiver_edge.bundle.folder import Bundle, read_bundle
from perceiver_edge.calibration import Ranges
from perceiver_edge.calibration.samples import sample_digest
from perceiver_edge.compiler.representative import choose_samples
from perceiver_edge.compiler.resolve import DIGITS, NamedModel, resolve_model
from perceiver_edge.errors import ConversionError
from perceiver_edge.progress import Progress
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.provenance import provenance

INPUT = "input"

SAMPLES = {"digits": (128, 360), "paper": (4, 6)}
"""To calibrate and to judge with. The paper's model takes seconds a sample in most engines."""
SAMPLES_OF_TRAINED = (64, 1_024)
"""So many labelled samples tell an accuracy to a point or two."""
_SAMPLES_OF_OTHERS = (16, 16)

_WITHOUT_FLOAT = {"paper"}
"""Models of which ours is compiled in int8 alone: float32 is 2 GB more, and minutes."""

_ANY = {
    "relative_l2": 1e9, "cosine": -1, "top1_agreement": 0, "sensitivity_min": 0, "sensitivity_max": 1e9,
    "centred_cosine": -1,
}  # fmt: skip
"""Gates that let every int8 model through: the verdict is the benchmark's to show, for ours as for the others."""


@dataclass(frozen=True)
class Subject:
    """``calibration``: the samples that ours was calibrated with, float32 ``[n, *axes, channels]``."""

    model: NamedModel
    bundle: Bundle
    calibration: np.ndarray
    held_out: HeldOut


def read_subject(
    name: str,
    cache: Path,
    *,
    progress: Progress,
    input_shape: tuple[int, ...] | None = None,
    folder: Path | None = None,
    data: Path | None = None,
    counts: tuple[int, int] | None = None,
) -> Subject:
    """Find the model and its samples, and compile ours if it is not there or if the compiler has changed.

    Args:
        name: digits or a preset; of what is found in ``folder``, if given.
        data: samples, of what ``--calibration-data`` takes; None: those that go with the name.
        counts: samples to calibrate and to judge with.

    Raises:
        ConversionError: our own compiler failed.
    """
    num_calibration, num_held_out = counts or SAMPLES.get(name, _SAMPLES_OF_OTHERS)
    model = resolve_model(folder or name, name=name, input_shape=input_shape)
    if data is None and name != DIGITS:
        data = samples_file(model, cache, count=num_calibration + num_held_out)
    calibrating, proving = choose_samples(
        model, data, num_calibration=num_calibration, num_held_out=num_held_out, seed=0
    )
    arguments = [
        "--model", str(folder or name), "--name", name, "--num-samples", str(num_calibration),
        "--num-held-out", str(num_held_out), *(f"--gate={gate}={bound}" for gate, bound in _ANY.items()),
        *(("--only",) if name in _WITHOUT_FLOAT else ()),
        *(() if data is None else ("--calibration-data", str(data))),
        *(() if input_shape is None else ("--input-shape", ",".join(map(str, input_shape)))),
    ]  # fmt: skip
    bundle = _bundle(name, arguments, model, cache, progress)
    held_out = read_held_out(bundle)
    ranges = Ranges.from_json(bundle.read("calibration.json").decode(), where=bundle.path)
    assert ranges.digests == set(calibrating.digests.values()), "the peers would be calibrated with other samples"
    assert set(proving.digests.values()) == {sample_digest({INPUT: values}) for values in held_out.inputs[INPUT]}
    return Subject(model, bundle, np.stack([sample[INPUT] for sample in calibrating]), held_out)


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
