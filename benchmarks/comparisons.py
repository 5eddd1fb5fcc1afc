"""What a result comes to: how many times as fast ours is, with its spread, and which answers each model gets right.

A ratio is one of times that were measured in the same round. Its median is the figure, and its 10th and 90th percentile
say how far rounds differ. An accuracy is one of so many samples: its interval (95 %, Wilson 1927) says how far it may
be from that of all samples there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_Z = 1.96
"""95 % of a normal distribution are within so many standard deviations."""


def ratio(slow_ms: Sequence[float], fast_ms: Sequence[float]) -> dict[str, float]:
    """Of times of the same rounds: the median of the ratios within each, and their 10th and 90th percentile."""
    low, median, high = np.percentile(np.divide(slow_ms, fast_ms), (10, 50, 90))
    return {"median": round(float(median), 3), "p10": round(float(low), 3), "p90": round(float(high), 3)}


def interval(share: float, count: int) -> tuple[float, float]:
    """Of a share that was seen in so many samples: between which two it is, with 95 % confidence."""
    centre = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return (centre - half) / (1 + _Z**2 / count), (centre + half) / (1 + _Z**2 / count)


def comparisons(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ours against our own and against the best of others, for each number of threads, back to back and after a pause.

    Rows that were never in one group have no rounds in common: such a pair is named, with None for its figures.
    """
    found = []
    for threads in result["threads"]:
        for regime, key, middle in (
            ("back to back", "samples_ms", "p50_ms"),
            ("after a pause", "paused_samples_ms", "paused_ms"),
        ):
            rows = [row for row in result["rows"] if threads in row["runs"] and key in row["runs"][threads]]
            for what, ours, other in _pairs(rows, threads, middle):
                names = {"ours": row_name(ours), "other": row_name(other)}
                both = _together(other["runs"][threads], ours["runs"][threads])
                figures = ratio(both[0][key], both[1][key]) if both else dict.fromkeys(("median", "p10", "p90"))
                found.append({"threads": threads, "regime": regime, "what": what, **names, **figures})
    return found


def _together(slow: Mapping[str, Any], fast: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """Both runs as they were in one group; None if they never were. Ours in int8 is in every group (``beside``)."""
    if "group" not in slow or "group" not in fast:  # results of before 2026-11-26
        return None
    if slow["group"] == fast["group"]:
        return slow, fast
    if (again := fast.get("beside", {}).get(str(slow["group"]))) is not None:
        return slow, again
    if (again := slow.get("beside", {}).get(str(fast["group"]))) is not None:
        return again, fast
    return None


def markdown(result: Mapping[str, Any]) -> str:
    """The comparisons, and the accuracy of every row, as two tables."""
    lines = ["| threads | | ours | against | × | 10th–90th percentile |", "|--:|---|---|---|--:|---|"]
    for one in comparisons(result):
        figures = "– | measured in two groups" if one["median"] is None else "{median:.2f} | {p10:.2f}–{p90:.2f}"
        lines.append(
            f"| {one['threads']} | {one['what']}, {one['regime']} | {one['ours']} | {one['other']} "
            f"| {figures.format_map(one)} |"
        )
    rows = [row for row in result["rows"] if row["accuracy"] is not None]
    if rows:
        num_answers = result.get("num_answers") or result["num_samples"]
        lines += ["", f"| of {num_answers:,} answers | accuracy | 95 % | verdict |", "|---|--:|---|---|"]
    for row in rows:
        low, high = interval(row["accuracy"], num_answers)
        lines.append(f"| {row_name(row)} | {row['accuracy']:.2%} | {low:.1%}–{high:.1%} | {row['verdict']} |")
    return "\n".join(lines)


def _pairs(
    rows: Sequence[Mapping[str, Any]], threads: str, middle: str
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """(what is compared, ours, the other); variants of a model, as with a weight cache, are left out."""
    rows = [row for row in rows if "," not in row["made_by"]]
    ours = [row for row in rows if row["is_ours"]]
    right = [row for row in rows if not row["is_ours"] and row["verdict"] == "within bounds"]

    def best(of: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        return min(of, key=lambda row: row["runs"][threads][middle], default=None)

    for int8 in (row for row in ours if row["precision"] == "int8"):
        for own in (row for row in ours if row["precision"] == "fp32" and row["engine"] == int8["engine"]):
            yield "int8, our own float32", int8, own
        for other in (row for row in right if row["precision"] == "fp32" and row["engine"] == int8["engine"]):
            yield "int8, float32 of the same engine", int8, other
    for precision in ("int8", "fp32"):
        mine = best([row for row in ours if row["precision"] == precision])
        float_, any_, quantised = (
            best([row for row in right if row["precision"] in precisions])
            for precisions in ({"fp32"}, {"fp32", "fp16", "dynamic", "int8"}, {"dynamic", "int8"})
        )
        if mine is None:
            continue
        if float_ is not None:
            yield f"best {_precision(precision)}, best float32 of others", mine, float_
        if precision == "int8" and any_ is not None:
            yield "best int8, best of others within bounds", mine, any_
        if precision == "int8" and quantised is not None:
            yield "best int8, best quantised of others within bounds", mine, quantised


def _precision(name: str) -> str:
    return "float32" if name == "fp32" else name


def row_name(row: Mapping[str, Any]) -> str:
    engine = {"litert": " (LiteRT)", "onnxruntime": " (ONNX Runtime)"}.get(row["engine"], "")
    return row["made_by"] + engine
