"""Several results as one table: a line a model, ours in int8 against the best of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparisons import comparisons, row_name
from contenders import ENGINES
from presentation import megabytes, milliseconds, widest

_HEADINGS = (
    "model", "input", "best of ours, int8", "best float32 of others", "×", "best quantised of others, within bounds",
    "×", "MB", "peak MB", "rel. L2", "right answers: float, ours, best quantised",
)  # fmt: skip
_FLOAT = "best int8, best float32 of others"
_QUANTISED = "best int8, best quantised of others within bounds"


def markdown_summary(results: Sequence[Mapping[str, Any]]) -> str:
    """MB and peak MB: of ours, and of the best float32 of others. A × is the median of the ratios within rounds, back
    to back, with its 10th and 90th percentile."""
    ruler = ["---"] * 4 + ["--:", "---"] + ["--:"] * 5
    lines = [list(_HEADINGS), ruler, *(_line(result) for result in results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(result: Mapping[str, Any]) -> list[str]:
    threads = widest(result)
    found = {
        one["what"]: one
        for one in comparisons(result)
        if (one["threads"], one["regime"]) == (threads, "back to back")
    }  # fmt: skip
    rows = {row_name(row): row for row in result["rows"]}
    float_, quantised = found[_FLOAT], found.get(_QUANTISED)
    ours, other = rows[float_["ours"]], rows[float_["other"]]
    best = rows[quantised["other"]] if quantised else None
    run, other_run = ours["runs"][threads], other["runs"][threads]
    accuracies = [other, ours, *([best] if best else [])]
    return [
        f"`{result['model']}`", result["input_shape"], _time(ours, threads), _time(other, threads), _times(float_),
        _time(best, threads) if best else "–", _times(quantised) if quantised else "–",
        f"{megabytes(ours['size_bytes'])} of {megabytes(other['size_bytes'])}",
        "–" if None in (run["peak_bytes"], other_run["peak_bytes"])
        else f"{megabytes(run['peak_bytes'])} of {megabytes(other_run['peak_bytes'])}",
        f"{ours['relative_l2']:.2g}",
        "–" if None in [row["accuracy"] for row in accuracies]
        else ", ".join(f"{row['accuracy']:.1%}" for row in accuracies),
    ]  # fmt: skip


def _time(row: Mapping[str, Any], threads: str) -> str:
    engine = ENGINES[row["engine"]]
    who = engine if row["is_ours"] else row["made_by"] if engine in row["made_by"] else f"{row['made_by']}, {engine}"
    return f"{milliseconds(row['runs'][threads]['p50_ms'])} ms ({who})"


def _times(one: Mapping[str, Any]) -> str:
    if one["median"] is None:
        return "–"
    return f"{one['median']:.2f} ({one['p10']:.2f}–{one['p90']:.2f})"
