"""Contenders in, one row each out: *measured*, *functional* or *not run*, and why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from gpu_contenders import Contender, Running
from gpu_subject import Subject
from gpu_timing import in_turns, pairwise
from measure import verdict

from perceiver_edge.errors import NotRunError, PerceiverEdgeError
from perceiver_edge.progress import Progress
from perceiver_edge.proof.judgement import Judgement, judge

MEASURED, FUNCTIONAL, NOT_RUN, FAILED = "measured", "functional", "not run", "failed"


def compare(
    contenders: Sequence[Contender], subject: Subject, *, rounds: int, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows ready for JSON, and the ratios of each pair of measured ones.

    ``measured``: within the parity bounds, and timed on a GPU. ``functional``: within the bounds, on a processor that
    only plays a GPU; not timed. ``failed``: it ran and was not within the bounds, or it broke; not timed. ``not run``:
    something is not here. ``reason`` says which.
    """
    rows, running = [], {}
    with ExitStack() as stack:
        for one in contenders:
            with progress(f"{subject.model.name}, batch {subject.batch}: prove {one.name}"):
                row, model = _prove(one, subject, stack)
            rows.append(row)
            if row["status"] == MEASURED:
                running[one.name] = model
        with progress(f"{subject.model.name}, batch {subject.batch}: time {rounds} rounds"):
            latencies = in_turns({name: model.call_ms for name, model in running.items()}, rounds=rounds)
    for row in rows:
        if latency := latencies.get(row["name"]):
            row |= {
                "median_ms": round(latency.median_ms, 3),
                "p10_ms": round(latency.p10_ms, 3),
                "p90_ms": round(latency.p90_ms, 3),
                "samples_ms": [round(sample, 4) for sample in latency.samples_ms],
            }
    return rows, pairwise(latencies)


def _prove(one: Contender, subject: Subject, stack: ExitStack) -> tuple[dict[str, Any], Running | None]:
    row: dict[str, Any] = {
        "model": subject.model.name, "batch": subject.batch, "name": one.name, "engine": one.engine,
        "arithmetic": one.arithmetic, "is_ours": one.is_ours, "timed": one.timed,
    }  # fmt: skip
    try:
        model = one.start(subject, stack)
        judgement = judge(
            subject.held_out.reference, answers(model, subject), gates=one.gates,
            is_classifier=subject.model.checkpoint.config.is_classifier,
        )  # fmt: skip
    except NotRunError as error:
        return row | {"status": NOT_RUN, "reason": f"{error.missing} is missing"}, None
    except ImportError as error:
        return row | {"status": NOT_RUN, "reason": f"{error.name} is not installed"}, None
    except (PerceiverEdgeError, RuntimeError) as error:  # torch and drivers: out of memory, a kernel that is not there
        return row | {"status": FAILED, "reason": str(error)}, None
    return row | _outcome(judgement, model), model


def _outcome(judgement: Judgement, model: Running) -> dict[str, Any]:
    measured = judgement.metrics
    if not judgement.passed:
        status, reason = FAILED, f"{verdict(judgement)}: its time would mean nothing"
    elif model.is_software:
        status, reason = FUNCTIONAL, "no GPU but a program that plays one: it ran and agreed, its time means nothing"
    else:
        status, reason = MEASURED, ""
    return {
        "status": status, "reason": reason, "device": model.device, "note": model.note,
        "cosine": _number(measured.cosine), "relative_l2": _number(measured.relative_l2),
        "sensitivity_ratio": _number(measured.sensitivity_ratio),
    }  # fmt: skip


def answers(model: Running, subject: Subject) -> np.ndarray:
    """The model's output for every held-out sample, ``[samples, classes]``."""
    count = len(subject.held_out)
    starts = range(0, count, subject.batch)
    return np.concatenate([model.answer(subject.held_out.batch(s, subject.batch)) for s in starts])[:count]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
