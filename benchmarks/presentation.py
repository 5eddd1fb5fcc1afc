"""A result as a table for the terminal and as one in Markdown: the same cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contenders import ENGINES

from perceiver_edge.errors import BadInputError

if TYPE_CHECKING:
    from rich.table import Table

BENCHMARK = "cpu"

_HEADINGS = (
    "engine", "model", "MB", "ms", "p10–p90", "ms, 1 thread", "× ours", "paused", "× ours, paused", "CPU ms",
    "CPU ms, paused", "× floor", "first", "load", "peak MB", "cosine", "rel. L2", "sens.", "top-1", "acc.", "verdict",
)  # fmt: skip
_TEXT_COLUMNS = {"engine", "model", "verdict"}


def widest(result: Mapping[str, Any]) -> str:
    """The run with the most threads, which the table and the picture show first."""
    return max(result["threads"], key=int)


def ordered_rows(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that the widest run has, as they are listed."""
    return [row for row in result["rows"] if widest(result) in row["runs"]]


def _cells(row: Mapping[str, Any], threads: str) -> tuple[str, ...]:
    run = row["runs"][threads]
    single = row["runs"].get("1")
    return (
        ENGINES[row["engine"]],
        row["made_by"],
        megabytes(row["size_bytes"]),
        milliseconds(run["p50_ms"]),
        f"{milliseconds(run['p10_ms'])}–{milliseconds(run['p90_ms'])}",
        _optional(single and single["p50_ms"]),
        _text(run["ratio"], ".2f"),
        # Results of before 2026-11-26 are of calls in turns, neither back to back nor after a pause.
        _optional(run.get("paused_ms")),
        _text(run.get("paused_ratio"), ".2f"),
        _optional(run.get("processor_ms")),
        _optional(run.get("paused_processor_ms")),
        _text(run["times_floor"], ".2f"),
        milliseconds(run["first_ms"]),
        milliseconds(run["load_ms"]),
        "–" if run["peak_bytes"] is None else megabytes(run["peak_bytes"]),
        _text(row["cosine"], ".4f"),
        _text(row["relative_l2"], ".2g"),
        _text(row["sensitivity_ratio"], ".3f"),
        _text(row["top1_agreement"], ".1%"),
        _text(row["accuracy"], ".1%"),
        row["verdict"],
    )


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f}" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.3g}"


def milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _optional(value: float | None) -> str:
    return "–" if value is None else milliseconds(value)


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def conditions(result: Mapping[str, Any]) -> str:
    """The one line without which the numbers mean nothing."""
    weights = ", random weights" if result["is_random_weights"] else ""
    hurry = " (quick: not a measurement)" if result["quick"] else ""
    rounds = {len(run["samples_ms"]) for row in result["rows"] for run in row["runs"].values()}
    return (
        f"{result['model']}{weights}, {result['input_shape']} input, "
        f"{machine_text(result['machine'], widest(result))}, "
        f"{'–'.join(map(str, sorted({min(rounds), max(rounds)})))} rounds, "
        f"{result['num_samples']} held-out samples{hurry}"
    )


def machine_text(machine: Mapping[str, Any], threads: int | str) -> str:
    """Which processor, and how much of it was used."""
    instructions = " ".join(machine["instructions"]) or "no instruction set known"
    return (
        f"{machine['cpu']} ({machine['architecture']}: {instructions}), {threads} of {machine['processors']} processors"
    )  # fmt: skip


def terminal_table(result: Mapping[str, Any]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=Text(conditions(result)), caption_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    for heading in _HEADINGS[1:]:
        table.add_column(heading, justify="left" if heading in _TEXT_COLUMNS else "right", no_wrap=True)
    styles = {"within bounds": "green", "out of bounds": "yellow", "collapsed": "red"}
    engine = None
    for row in ordered_rows(result):
        if row["engine"] != engine:
            engine = row["engine"]
            table.add_section()
            table.add_row(Text(ENGINES[engine], "italic"))
        _, *others, verdict = _cells(row, widest(result))
        style = "bold" if row["is_ours"] else ""
        table.add_row(*(Text(cell, style) for cell in others), Text(verdict, styles[verdict]))
    return table


def markdown_table(result: Mapping[str, Any]) -> str:
    ruler = [":--" if heading in _TEXT_COLUMNS else "--:" for heading in _HEADINGS]
    lines = [list(_HEADINGS), ruler]
    for row in ordered_rows(result):
        engine, made_by, *numbers = _cells(row, widest(result))
        lines.append([engine, f"**{made_by}**" if row["is_ours"] else made_by, *numbers])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    missing = "".join(f"\nNot run: {gone}" for gone in not_run(result))
    return f"{table}\n\n{conditions(result)}.\n{missing}"


def not_run(result: Mapping[str, Any]) -> list[str]:
    return [f"{one['made_by']} ({' '.join(one['reason'].split())})" for one in result["missing"]]


def read_result(path: Path, *benchmarks: str) -> dict[str, Any]:
    """Raises BadInputError: not a result of one of the benchmarks of these names."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["benchmark"] not in benchmarks:
            raise ValueError(f"a result of {result['benchmark']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            "The result cannot be read.",
            expected=f"a JSON file of the benchmark {' or '.join(benchmarks)}",
            got=error,
            where=path,
        ) from error
    return result
