"""Contenders in, one row each out: what they answer, judged first, and how long they take, all in turns."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from contenders import Contender, by_engine, contender, ours, plain, with_weight_cache
from environments import CACHE
from floor import Rates, floor_ms
from machine import available_bytes
from operations import Operations, count
from peer_files import peer_file, work_folder
from peer_list import Peer, peers_of
from subject import Subject

from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.config import PerceiverConfig
from perceiver_edge.errors import PerceiverEdgeError, counted
from perceiver_edge.measure.side_by_side import Measured, measure_side_by_side
from perceiver_edge.measure.worker import WorkerError
from perceiver_edge.progress import Progress
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.judgement import Judgement, judge
from perceiver_edge.runtime import paired_ratio

SAMPLES = ("samples_ms", "paused_samples_ms")
"""Of a run: what ratios are made of. An anchor has them for each group that it was in: ``beside``, by group."""

COLLAPSED_BELOW = 0.1
"""A sensitivity ratio under this: the output hardly depends on the input any more."""

LEAST_BYTES_TOGETHER, SHARE_OF_MEMORY = 9e9, 0.8
"""Of all models that are loaded at once, as `_weight` guesses: a share of the memory that is available, at least so
much."""

_METRICS = ("cosine", "relative_l2", "sensitivity_ratio", "top1_agreement", "accuracy")


def compare(
    subject: Subject, cache: Path, *, threads: Sequence[int], rounds: int | None, budget_s: float,
    rates: Mapping[int, Rates], leave_out: Sequence[str], progress: Progress,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:  # fmt: skip
    """(a row for each contender that runs, a reason for each that does not), ready for JSON.

    Args:
        rounds: timed turns of each; None for as many as fit in ``budget_s``, for each number of threads.
        rates: of the floor, by threads; without them a row has no floor.
        leave_out: see `prepare`.
    """
    work = work_folder(cache, subject.model, subject.calibration)
    present, missing = prepare(subject, cache, progress, leave_out=leave_out)
    present += [*with_weight_cache(present), *plain(present)]
    rows = {one: _row(one) for one in by_engine(present)}
    operations = operations_of(subject)
    most_bytes = max(LEAST_BYTES_TOGETHER, SHARE_OF_MEMORY * (available_bytes() or 0))
    for number in threads:
        together = list(groups(present, subject, most_bytes=most_bytes))
        for index, group in enumerate(together):
            with progress(f"{counted(number, 'thread')}, group {index + 1} of {len(together)}"):
                measured = _measure(
                    group, subject, work, threads=number, rounds=rounds, budget_s=budget_s / len(together)
                )  # fmt: skip
            for one, result in measured.items():
                if not isinstance(result, Measured):
                    reason = reason_of(one, result, cache)
                    missing += [reason] if reason not in missing else []  # one for all numbers of threads
                    continue
                of_engine = rates.get(number, {}).get(one.engine, {})
                floor = None if operations is None else floor_ms(operations, of_engine, one.precision)
                run, runs = _run(one, result, measured, floor) | {"group": index}, rows[one]["runs"]
                if str(number) in runs:  # an anchor, once more beside others
                    runs[str(number)]["beside"][str(index)] = {key: run[key] for key in SAMPLES}
                else:
                    runs[str(number)] = run | ({"beside": {}} if one.is_anchor else {})
    for one, row in rows.items():
        if row["runs"]:
            row.update(judged(subject, np.load(_answers(one, subject, work)), one.precision))
    return [row for row in rows.values() if row["runs"]], missing


def operations_of(subject: Subject) -> Operations | None:
    """None where nobody has counted them: of Hugging Face's models."""
    config = subject.model.checkpoint.config
    return count(config, subject.model.input_spec.shape) if isinstance(config, PerceiverConfig) else None


def prepare(
    subject: Subject, cache: Path, progress: Progress, *, leave_out: Sequence[str] = (),
    peers: Sequence[Peer] | None = None,
) -> tuple[list[Contender], list[dict[str, str]]]:  # fmt: skip
    """Ours, and what `make_peers` gives."""
    present, missing = make_peers(
        subject.model, subject.calibration, cache, progress, leave_out=leave_out, peers=peers
    )  # fmt: skip
    return [*ours(subject.bundle), *present], missing


def make_peers(
    model: NamedModel, calibration: Mapping[str, np.ndarray], cache: Path, progress: Progress, *,
    leave_out: Sequence[str] = (), peers: Sequence[Peer] | None = None,
) -> tuple[list[Contender], list[dict[str, str]]]:  # fmt: skip
    """(those that can be measured, a reason for each peer that cannot); peers are made that are not there yet.

    Args:
        leave_out: peers with one of these words in their name are not made, and that is their reason.
        peers: None for all that there are for such a model.
    """
    work = work_folder(cache, model, calibration)
    present, missing = [], []
    for peer in peers_of(model) if peers is None else peers:
        if word := next((word for word in leave_out if word in peer.made_by), None):
            missing.append(
                {"made_by": peer.made_by, "engine": peer.engine, "reason": f"left out by --leave-out {word}"}
            )
            continue
        try:
            present.append(contender(peer, peer_file(peer, work, cache, progress), cache))
        except PerceiverEdgeError as error:
            missing.append(reason_of(peer, error, cache))
    return present, missing


def answer(
    present: Sequence[Contender], subject: Subject, cache: Path, *, threads: int, progress: Progress
) -> None:  # fmt: skip
    """Let every model answer the samples that it has not answered yet, so that a measurement need not wait for it.

    One that fails is left for the measurement to name.
    """
    work = work_folder(cache, subject.model, subject.calibration)
    present = [*present, *with_weight_cache(present), *plain(present)]
    unheard = [one for one in present if not _answers(one, subject, work).exists()]
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        np.savez(inputs, **subject.held_out.inputs)
        for one in unheard:
            with (
                progress(f"answers of {one.made_by}"),
                contextlib.suppress(WorkerError),
                one.worker(inputs, threads) as w,
            ):
                w.start()
                _keep(w.outputs(), one, subject, work)


def _keep(outputs: np.ndarray, one: Contender, subject: Subject, work: Path) -> None:
    _answers(one, subject, work).parent.mkdir(exist_ok=True)
    np.save(_answers(one, subject, work), outputs)


def reason_of(one: Peer | Contender, error: PerceiverEdgeError, cache: Path) -> dict[str, str]:
    return {"made_by": one.made_by, "engine": one.engine, "reason": without_folders(error, cache)}


def without_folders(error: PerceiverEdgeError, cache: Path) -> str:
    """A result is shown to others; the folders of this machine are not."""
    return str(error).replace(str(cache.absolute()), str(CACHE))


def groups(present: Sequence[Contender], subject: Subject, *, most_bytes: float) -> Iterator[list[Contender]]:
    """As many at once as memory holds; the anchors are in every group."""
    anchors = [one for one in present if one.is_anchor]
    room = most_bytes - sum(_weight(one, subject) for one in anchors)
    group: list[Contender] = []
    left = room
    for one in present:
        if one.is_anchor:
            continue
        if group and _weight(one, subject) > left:
            yield anchors + group
            group, left = [], room
        group.append(one)
        left -= _weight(one, subject)
    yield anchors + group


def _weight(one: Contender, subject: Subject) -> float:
    """Bytes, roughly: the engine, the weights with a packed copy, and some scores of every latent for every token."""
    latents = subject.model.checkpoint.config.num_latents
    return 3e8 + 3 * one.size_bytes + 6 * 4 * latents * float(np.prod(subject.model.input_spec.shape))


def _measure(
    group: Sequence[Contender], subject: Subject, work: Path, *, threads: int, rounds: int | None, budget_s: float
) -> dict[Contender, Measured | PerceiverEdgeError]:
    names = {f"{one.engine} {one.made_by}": one for one in group}
    unheard = [name for name, one in names.items() if not _answers(one, subject, work).exists()]
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        np.savez(inputs, **subject.held_out.inputs)
        measured = measure_side_by_side(
            {name: functools.partial(one.worker, inputs, threads) for name, one in names.items()},
            rounds=rounds, budget_s=budget_s, answering=unheard,
        )  # fmt: skip
    for name, one in names.items():
        result = measured[name]
        if isinstance(result, Measured) and result.outputs is not None:
            _keep(result.outputs, one, subject, work)
    return {one: measured[name] for name, one in names.items()}


def _answers(one: Contender, subject: Subject, work: Path) -> Path:
    """Where the answers of this very file to these very samples are kept: the slowest take minutes to answer all."""
    status = one.file.stat()
    digest = hashlib.sha256(repr((str(one), status.st_size, status.st_mtime_ns)).encode())
    digest.update(subject.held_out.reference.tobytes())
    return work / "answers" / f"{digest.hexdigest()[:16]}.npy"


def _row(one: Contender) -> dict[str, Any]:
    return {
        "made_by": one.made_by, "engine": one.engine, "precision": one.precision, "is_ours": one.is_ours,
        "file": one.file.name, "size_bytes": one.size_bytes, "runs": {},
    }  # fmt: skip


def _run(
    one: Contender, result: Measured, group: dict[Contender, Measured | PerceiverEdgeError], floor: float | None
) -> dict[str, Any]:
    """``ratio``: the median over rounds of its time over the anchor's, of the same engine or else of LiteRT;
    ``paused_ratio``: the same after a pause."""
    anchors = {other.engine: other for other in group if other.is_anchor and isinstance(group[other], Measured)}
    anchor = anchors.get(one.engine) or anchors.get("litert")
    against = group[anchor] if anchor else None
    latency = result.latency
    return {
        "p50_ms": round(latency.median_ms, 4), "p10_ms": round(latency.p10_ms, 4), "p90_ms": round(latency.p90_ms, 4),
        "paused_ms": round(result.paused.median_ms, 4), "paused_p10_ms": round(result.paused.p10_ms, 4),
        "paused_p90_ms": round(result.paused.p90_ms, 4), "processor_ms": round(result.processor_ms, 4),
        "paused_processor_ms": round(result.paused_processor_ms, 4),
        "paused_ratio": round(paired_ratio(result.paused, against.paused), 4)
        if isinstance(against, Measured) else None,
        "first_ms": round(result.started.first_ms, 3), "load_ms": round(result.started.load_ms, 3),
        "peak_bytes": result.peak_bytes,
        "ratio": round(paired_ratio(latency, against.latency), 4) if isinstance(against, Measured) else None,
        "against": anchor.engine if anchor else None,
        "floor_ms": None if floor is None else round(floor, 4),
        "times_floor": None if floor is None else round(latency.median_ms / floor, 3),
        "samples_ms": [round(sample, 4) for sample in latency.samples_ms],
        "paused_samples_ms": [round(sample, 4) for sample in result.paused.samples_ms],
    }  # fmt: skip


def judged(subject: Subject, outputs: np.ndarray, precision: str) -> dict[str, Any]:
    """With random weights the largest logit leads by next to nothing, so there the choice of class is not judged."""
    gates = Gates.for_precision(precision)
    judgement = judge(
        subject.held_out.reference, outputs, labels=subject.held_out.labels,
        is_classifier=subject.model.checkpoint.config.is_classifier,
        gates=replace(gates, top1_agreement=None) if subject.model.is_random_weights else gates,
    )  # fmt: skip
    metrics = {name: _number(getattr(judgement.metrics, name)) for name in _METRICS}
    if subject.labels is not None and np.isfinite(outputs).all():
        metrics["accuracy"] = share_right(outputs, subject.labels)
    return {"verdict": verdict(judgement), **metrics}


def share_right(outputs: np.ndarray, labels: np.ndarray) -> float:
    """Of outputs ``[n, ..., classes]`` and labels ``[n, ...]``: right answers among those that are asked for."""
    return float((outputs.argmax(-1) == labels)[labels >= 0].mean())


def verdict(judgement: Judgement) -> str:
    """Collapsed goes first: such a model may still have a high cosine."""
    if judgement.metrics.sensitivity_ratio < COLLAPSED_BELOW:
        return "collapsed"
    return "within bounds" if judgement.passed else "out of bounds"


def _number(value: float | None) -> float | None:
    """JSON has no NaN; a metric that cannot be measured is null, and its verdict is never ``within bounds``."""
    return None if value is None or not np.isfinite(value) else float(value)
