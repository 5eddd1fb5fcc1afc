"""Make the peers' models that are not there yet, one at a time, each in its own process and its own environment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from environments import THIS, python_of
from peer_list import CHECKPOINT, Peer
from recipes.recipe import CALIBRATION

from perceiver_edge.checkpoints import save_checkpoint
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.errors import ConversionError
from perceiver_edge.progress import Progress
from perceiver_edge.provenance import tool_versions

_HERE = Path(__file__).parent
_RECIPES = _HERE / "recipes"
_LONGEST_S = 1800


def work_folder(cache: Path, model: NamedModel, calibration: Mapping[str, np.ndarray]) -> Path:
    """Where the peers of this model with this calibration lie; made if need be.

    Args:
        calibration: what the peers are calibrated with, ``[n, ...]`` by the name of the input.
    """
    digest = hashlib.sha256(repr((model.fingerprint, *(values.shape for values in calibration.values()))).encode())
    for values in calibration.values():
        digest.update(np.ascontiguousarray(values).data)
    work = cache.absolute() / f"{model.name}_{digest.hexdigest()[:12]}"
    if not (work / CALIBRATION).exists():
        save_checkpoint(dataclasses.replace(model.checkpoint, input_spec=model.input_spec), work / "model")
        np.savez(work / CALIBRATION, **calibration)  # type: ignore[arg-type]
    return work


def peer_file(peer: Peer, work: Path, cache: Path, progress: Progress) -> Path:
    """The peer's model, made now if it is not there or if its recipe or its tools have changed since.

    A failure is kept like a model, so that a run that goes on does not wait for it again.

    Raises:
        NotRunError: its environment is not made.
        ConversionError: its tools failed; what they said last is in the message, the rest in the log that it names.
    """
    python = python_of(peer.environment, cache)
    if peer.recipe is None:
        rate = work / "rate.json"
        return rate if rate.exists() else work / CHECKPOINT
    file, record = work / peer.file, work / f"{peer.file}.json"
    key = _key(peer)
    known = json.loads(record.read_text()) if record.exists() else {}
    if known.get("key") != key:
        with progress(f"make the peer: {peer.made_by}"):
            known = {"key": key, "failure": _make(peer, python, work)}
        record.write_text(json.dumps(known))
    if known["failure"] is not None:
        raise ConversionError(
            f"{peer.made_by} could not be made.", got=known["failure"], where=work / f"{peer.file}.log",
            fix=f"after a change elsewhere, remove {record.name} there to try again",
        )  # fmt: skip
    return file


def _key(peer: Peer) -> str:
    """Of all that the file depends on beside the work folder: the recipes' sources and the versions of the tools."""
    digest = hashlib.sha256()
    for name in ("recipe", "plain_torch", "plain_tensorflow", peer.recipe):
        digest.update((_RECIPES / f"{name}.py").read_bytes())
    versions = repr(tool_versions()).encode()
    if peer.environment != THIS:
        versions = (_HERE / "peers" / f"{peer.environment}.txt").read_bytes()
    digest.update(versions)
    return digest.hexdigest()


def _make(peer: Peer, python: Path, work: Path) -> str | None:
    """None, or why it could not be made, in a line."""
    log = work / f"{peer.file}.log"
    with log.open("w") as stream:
        try:
            done = subprocess.run(
                [str(python), str(_RECIPES / f"{peer.recipe}.py"), str(work), peer.file],
                stdout=stream, stderr=subprocess.STDOUT, check=False, timeout=_LONGEST_S,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"not done after {_LONGEST_S} s"
    if done.returncode == 0:
        return None
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    killed = " (killed: out of memory?)" if done.returncode == -9 else ""
    return f"exit code {done.returncode}{killed}: {lines[-1][:300]}"
