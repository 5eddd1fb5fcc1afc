"""How cost grows with a size of the README model: its tokens, from 32² to 512², or its latents."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contenders import PEERS, Contender, contender, ours
from measure import groups, reason_of
from peer_files import peer_file, work_folder
from subject import read_subject

from perceiver_edge.checkpoints import Checkpoint, init_weights, save_checkpoint
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.progress import Progress
from perceiver_edge.side_by_side import Measured, measure_side_by_side

_SIDES = (32, 64, 128, 224, 512)
_LATENTS = (64, 128, 256, 512)
_COMPARED = ("TF converter float32", "TF converter dynamic", "OpenVINO float32")
"""Those that survive a sweep: no full int8, which takes minutes to make and collapses. OpenVINO's brings tf2onnx's."""

_COUNTS = (2, 2)
_BUDGET_S = 12.0


def sweep(
    axis: str, cache: Path, *, threads: int, rounds: int | None, quick: bool, progress: Progress
) -> dict[str, Any]:  # fmt: skip
    """One point for each size, each with its rows, ready for JSON. A peer that a size cannot have is listed there."""
    points = []
    for size, name, config, side in _variants(axis, quick):
        folder = cache.absolute() / "sweep_models" / name
        if not (folder / "config.json").exists():
            spec = dataclasses.replace(PRESETS["readme"][1], shape=(side, side))
            save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0)), folder)
        points.append({"size": size, **_point(name, folder, cache, threads=threads, rounds=rounds, progress=progress)})
    return {"benchmark": "sweep", "model": "readme", "axis": axis, "threads": threads, "points": points}


def _variants(axis: str, quick: bool) -> list[tuple[int, str, Any, int]]:
    config, spec = PRESETS["readme"]
    if axis == "tokens":
        sides: Sequence[int] = _SIDES[:2] if quick else _SIDES
        return [(side * side, f"readme_{side}x{side}", config, side) for side in sides]
    sizes = _LATENTS[:2] if quick else _LATENTS
    return [
        (size, f"readme_{size}_latents", dataclasses.replace(config, num_latents=size), spec.shape[0])
        for size in sizes
    ]  # fmt: skip


def _point(
    name: str, folder: Path, cache: Path, *, threads: int, rounds: int | None, progress: Progress
) -> dict[str, Any]:  # fmt: skip
    subject = read_subject(name, cache, progress=progress, folder=folder, counts=_COUNTS)
    work = work_folder(cache, subject.model, subject.calibration)
    present, missing = ours(subject.bundle), []
    for peer in PEERS:
        if peer.made_by == "tf2onnx float32":  # OpenVINO's model is made from it
            peer_file(peer, work, cache, progress)
        if peer.made_by in _COMPARED:
            try:
                present.append(contender(peer, peer_file(peer, work, cache, progress), cache))
            except PerceiverEdgeError as error:
                missing.append(reason_of(peer, error, cache))
    measured: dict[Contender, Measured | PerceiverEdgeError] = {}
    with progress(f"{name}: measure"), tempfile.TemporaryDirectory() as inputs_folder:
        inputs = Path(inputs_folder, "inputs.npz")
        np.savez(inputs, input=subject.held_out.inputs["input"][:1])
        for group in groups(present, subject):
            of_group = measure_side_by_side(
                {str(number): functools.partial(one.worker, inputs, threads) for number, one in enumerate(group)},
                rounds=rounds, budget_s=_BUDGET_S,
            )  # fmt: skip
            measured = dict(zip(group, of_group.values(), strict=True)) | measured
    rows = []
    for one, result in measured.items():
        if isinstance(result, Measured):
            rows.append(
                {
                    "made_by": one.made_by, "engine": one.engine, "p50_ms": round(result.latency.median_ms, 4),
                    "p90_ms": round(result.latency.p90_ms, 4), "peak_bytes": result.peak_bytes,
                }
            )  # fmt: skip
        else:
            missing.append(reason_of(one, result, cache))
    return {"rows": rows, "missing": missing}
