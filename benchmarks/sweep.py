"""How cost grows with a size of the README model: its tokens, from 32² to 512², or its latents, from 64 to 512."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from contenders import Contender, by_engine
from measure import groups, judged, prepare, reason_of, without_folders
from peer_list import PEERS
from sources import Source
from subject import Subject, read_subject
from sweep_presentation import BENCHMARK

from perceiver_edge.checkpoints import Checkpoint, init_weights, save_checkpoint
from perceiver_edge.config import PRESETS, InputSpec, PerceiverConfig
from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.measure.side_by_side import Measured, measure_side_by_side
from perceiver_edge.progress import Progress

_MODEL = "readme"
_SIDES = (32, 64, 128, 224, 512)
_LATENTS = (64, 128, 256, 512)
_COMPARED = ("TF converter float32", "TF converter dynamic", "tf2onnx float32", "OpenVINO float32")
"""Those that can be made in a minute: what calibrates takes many at 512² tokens. OpenVINO's is made from tf2onnx's."""

_COUNTS = (2, 2)
"""To calibrate and to judge with: neither time nor memory depends on more, and two are enough to see a collapse."""

_MOST_BYTES_TOGETHER = 20e9
"""As `measure.groups` guesses, which for these models is more than twice what they hold (at 512² tokens 0.3 to 1.8 GB
each): so all of a size are in one group, and their times compare."""

_BUDGET_S = 12.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The README model at one size; its name is the same in both sweeps, so that they share what is made."""

    size: int
    config: PerceiverConfig
    spec: InputSpec

    @property
    def name(self) -> str:
        return f"{_MODEL}_{'x'.join(map(str, self.spec.shape))}_{self.config.num_latents}_latents"


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is there to be measured at one size, and a reason for all that is not. No subject: ours failed."""

    variant: Variant
    subject: Subject | None = None
    present: list[Contender] = field(default_factory=list)
    missing: list[dict[str, str]]


def variants(axis: str, *, quick: bool) -> list[Variant]:
    """Smallest first; the two smallest of them if ``quick``."""
    config, spec = PRESETS[_MODEL]
    if axis == "tokens":
        of_axis = [
            Variant(size=side * side, config=config, spec=dataclasses.replace(spec, shape=(side, side)))
            for side in _SIDES
        ]  # fmt: skip
    else:
        of_axis = [
            Variant(size=count, config=dataclasses.replace(config, num_latents=count), spec=spec) for count in _LATENTS
        ]  # fmt: skip
    return of_axis[:2] if quick else of_axis


def points(
    axis: str, cache: Path, *, quick: bool, leave_out: tuple[str, ...], progress: Progress
) -> Iterator[Point]:  # fmt: skip
    """One for each size; ours and the peers are made that an earlier run has not made."""
    for variant in variants(axis, quick=quick):
        said = functools.partial(_of_variant, progress, variant)
        try:
            subject = _subject(variant, cache, said)
        except PerceiverEdgeError as error:
            reason = without_folders(error, cache)
            yield Point(variant=variant, missing=[{"made_by": "all of this size", "engine": "all", "reason": reason}])
            continue
        compared = [peer for peer in PEERS if peer.made_by in _COMPARED]
        present, missing = prepare(subject, cache, said, leave_out=leave_out, peers=compared)
        yield Point(variant=variant, subject=subject, present=by_engine(present), missing=missing)


def sweep(
    axis: str, cache: Path, *, threads: int, rounds: int | None, quick: bool, leave_out: tuple[str, ...],
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """The result, ready for JSON: a point for each size, with a row for each model that runs there.

    Args:
        rounds: timed turns of each; None for as many as fit in a few seconds, at least 5.
        leave_out: see `measure.prepare`.
    """
    measured = [
        _measured(point, cache, threads=threads, rounds=rounds, progress=progress)
        for point in points(axis, cache, quick=quick, leave_out=leave_out, progress=progress)
    ]
    return {
        "benchmark": BENCHMARK, "model": _MODEL, "axis": axis, "threads": threads, "quick": quick, "points": measured,
    }  # fmt: skip


def _of_variant(progress: Progress, variant: Variant, title: str, total: int | None = None) -> Any:
    return progress(f"{variant.name}: {title}", total)


def _subject(variant: Variant, cache: Path, progress: Progress) -> Subject:
    folder = cache.absolute() / "sweep_models" / variant.name
    if not (folder / "config.json").exists():
        weights = init_weights(variant.config, 0)
        save_checkpoint(Checkpoint(config=variant.config, input_spec=variant.spec, weights=weights), folder)
    source = Source(name=variant.name, model=folder, counts=_COUNTS, has_random_weights=True)
    return read_subject(source, cache, progress=progress)


def _measured(
    point: Point, cache: Path, *, threads: int, rounds: int | None, progress: Progress
) -> dict[str, Any]:  # fmt: skip
    variant, rows, missing = point.variant, [], list(point.missing)
    for one, result in _results(point, threads=threads, rounds=rounds, progress=progress).items():
        if isinstance(result, Measured):
            rows.append(_row(one, result, point.subject))
        else:
            missing.append(reason_of(one, result, cache))
    return {
        "size": variant.size, "input_shape": "×".join(map(str, variant.spec.shape)),
        "num_latents": variant.config.num_latents, "rows": rows, "missing": missing,
    }  # fmt: skip


def _results(
    point: Point, *, threads: int, rounds: int | None, progress: Progress
) -> dict[Contender, Measured | PerceiverEdgeError]:
    """In the order of ``present``; of the anchors, which are in every group, those of the first."""
    if point.subject is None:
        return {}
    results: dict[Contender, Measured | PerceiverEdgeError] = {}
    together = list(groups(point.present, point.subject, most_bytes=_MOST_BYTES_TOGETHER))
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        np.savez(inputs, **point.subject.held_out.inputs)
        for index, group in enumerate(together):
            names = {str(number): one for number, one in enumerate(group)}
            with progress(f"{point.variant.name}: measure group {index + 1} of {len(together)}"):
                measured = measure_side_by_side(
                    {name: functools.partial(one.worker, inputs, threads) for name, one in names.items()},
                    rounds=rounds, budget_s=_BUDGET_S / len(together), answering=names,
                )  # fmt: skip
            results = {names[name]: result for name, result in measured.items()} | results
    return {one: results[one] for one in point.present}


def _row(one: Contender, result: Measured, subject: Subject) -> dict[str, Any]:
    latency = result.latency
    return {
        "made_by": one.made_by, "engine": one.engine, "precision": one.precision, "is_ours": one.is_ours,
        "size_bytes": one.size_bytes, "rounds": len(latency.samples_ms),
        "p50_ms": round(latency.median_ms, 4), "p10_ms": round(latency.p10_ms, 4), "p90_ms": round(latency.p90_ms, 4),
        "peak_bytes": result.peak_bytes, **judged(subject, result.outputs, one.precision),
    }  # fmt: skip
