"""The result of a sweep as Markdown: a table of times and one of peak memory, a column for each size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contenders import ENGINES
from presentation import machine_text, megabytes, milliseconds, not_run

BENCHMARK = "sweep"

Line = tuple[str, str]
"""Engine and model: what is followed over the sizes."""


def lines(sweep: Mapping[str, Any]) -> dict[Line, dict[int, Mapping[str, Any]]]:
    """Size → row, of each model that ran at any size; engine by engine, as the rows are."""
    found: dict[Line, dict[int, Mapping[str, Any]]] = {}
    for point in sweep["points"]:
        for row in point["rows"]:
            found.setdefault((row["engine"], row["made_by"]), {})[point["size"]] = row
    order = list(ENGINES)
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


def markdown_table(sweep: Mapping[str, Any]) -> str:
    """Both tables, the conditions, and the reason for whatever did not run at a size."""
    times = _table(sweep, "ms", lambda row: milliseconds(row["p50_ms"]))
    memory = _table(sweep, "peak MB", _peak)
    missing = "".join(f"\nNot run at {size_text(sweep, point)}: {gone}"
                      for point in sweep["points"] for gone in not_run(point))  # fmt: skip
    return f"{times}\n\n{memory}\n\n{conditions(sweep)}.\n{missing}"


def size_text(sweep: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    """Such as ``1,024 tokens (32×32)``."""
    shape = f" ({point['input_shape']})" if sweep["axis"] == "tokens" else ""
    return f"{point['size']:,} {sweep['axis']}{shape}"


def conditions(sweep: Mapping[str, Any]) -> str:
    """The one line without which the numbers mean nothing."""
    rounds = sorted({row["rounds"] for point in sweep["points"] for row in point["rows"]})
    between = "–".join(map(str, dict.fromkeys((rounds[0], rounds[-1])))) if rounds else "no"
    first = sweep["points"][0]
    held = f"{first['num_latents']} latents" if sweep["axis"] == "tokens" else f"{first['input_shape']} tokens"
    return (
        f"{sweep['model']} with {held}, random weights, {machine_text(sweep['machine'], sweep['threads'])}, "
        f"medians of {between} rounds"
        f"{' (quick: not a measurement)' if sweep['quick'] else ''}"
    )


def _table(sweep: Mapping[str, Any], what: str, text: Callable[[Mapping[str, Any]], str]) -> str:
    points = sweep["points"]
    table = [
        ["engine", f"model, {what}", *(size_text(sweep, point) for point in points)],
        [":--", ":--", *("--:" for _ in points)],
    ]
    for (engine, made_by), rows in lines(sweep).items():
        is_ours = any(row["is_ours"] for row in rows.values())
        cells = [_cell(rows.get(point["size"]), text) for point in points]
        table.append([ENGINES[engine], f"**{made_by}**" if is_ours else made_by, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def _cell(row: Mapping[str, Any] | None, text: Callable[[Mapping[str, Any]], str]) -> str:
    """A number counts only beside its verdict."""
    if row is None:
        return "–"
    return text(row) if row["verdict"] == "within bounds" else f"{text(row)} ({row['verdict']})"


def _peak(row: Mapping[str, Any]) -> str:
    return "–" if row["peak_bytes"] is None else megabytes(row["peak_bytes"])
