"""Make the peers that are not there yet, each in its own process, in a folder that later runs find again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from machine import tool_versions
from peers import CALIBRATION, MODEL, PEERS

from perceiver_edge.checkpoints import save_checkpoint
from perceiver_edge.errors import BadInputError, ConversionError
from perceiver_edge.models import NamedModel
from perceiver_edge.progress import Progress

WORK = Path("build") / "plain_form"
_PEERS_SCRIPT = Path(__file__).with_name("peers.py")


def peer_files(model: NamedModel, calibration: np.ndarray, *, progress: Progress) -> dict[str, Path]:
    """Files by the names of `PEERS`.

    Args:
        calibration: what the peers are calibrated with, float32 ``[n, *axes, channels]``.

    Raises:
        BadInputError: the work folder cannot be written.
        ConversionError: a converter failed; its output is in the log file that the message names.
    """
    work = WORK / f"{model.name}_{_key(model, calibration)[:12]}"
    files = {name: work / name for name in PEERS}
    missing = [name for name, path in files.items() if not path.exists()]
    if missing:
        try:
            work.mkdir(parents=True, exist_ok=True)
            np.save(work / CALIBRATION, calibration)
        except OSError as error:
            raise BadInputError("The work folder cannot be written.", got=error, where=work) from error
        save_checkpoint(dataclasses.replace(model.checkpoint, input_spec=model.input_spec), work / MODEL)
    for name in missing:
        with progress(f"make the peer: {PEERS[name].made_by}"):
            _make(work, name)
    return files


def _key(model: NamedModel, calibration: np.ndarray) -> str:
    """Of everything that a peer depends on."""
    digest = hashlib.sha256()
    for part in (model.checkpoint.fingerprint, model.sample_shape, tool_versions(), _PEERS_SCRIPT.read_text()):
        digest.update(repr(part).encode())
    digest.update(calibration.tobytes())
    return digest.hexdigest()


def _make(work: Path, name: str) -> None:
    log = work / f"{name}.log"
    with log.open("w") as stream:
        done = subprocess.run(
            [sys.executable, str(_PEERS_SCRIPT), str(work), name],
            stdout=stream, stderr=subprocess.STDOUT, check=False, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        )  # fmt: skip
    if done.returncode != 0:
        lines = log.read_text(errors="replace").strip().splitlines()
        killed = " (killed: out of memory?)" if done.returncode == -9 else ""
        raise ConversionError(
            f"A peer could not be made: {PEERS[name].made_by}.",
            expected=name, got=f"exit code {done.returncode}{killed}: {lines[-1] if lines else 'no output'}", where=log,
            fix="read the log; peers that are done are kept, so that the next run goes on from here",
        )  # fmt: skip
