"""Results as SVG, with matplotlib: one bar a contender, and lines over a swept size."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from contenders import ENGINES
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from presentation import conditions, megabytes, milliseconds, ordered_rows, widest

_OURS, _PEER, _COLLAPSED = "#1769aa", "#9aa5b1", "#c0392b"
_LONGEST = 3.0
"""The axis ends at this many times the slowest float32 peer; a longer bar is cut, its label says how long."""

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "perceiver_edge", "font.family": "sans-serif"})


def bar_chart(result: Mapping[str, Any], path: Path) -> None:
    """Medians of the widest run, fastest first; whiskers from p10 to p90, a tick at the floor."""
    threads = widest(result)
    rows = sorted(ordered_rows(result), key=lambda row: row["runs"][threads]["p50_ms"])
    floats = [row["runs"][threads]["p50_ms"] for row in rows if row["precision"] == "fp32" and not row["is_ours"]]
    longest = max(row["runs"][threads]["p90_ms"] for row in rows)
    limit = min(longest, _LONGEST * max(floats)) if floats else longest
    figure = Figure(figsize=(10, 1.4 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        run = row["runs"][threads]
        collapsed = row["verdict"] == "collapsed"
        axes.barh(
            place, min(run["p50_ms"], limit), color="#f3d9d9" if collapsed else _OURS if row["is_ours"] else _PEER,
            hatch="///" if collapsed else None, edgecolor=_COLLAPSED if collapsed else "none", linewidth=0, height=0.66,
        )  # fmt: skip
        if run["p90_ms"] <= limit:
            axes.plot([run["p10_ms"], run["p90_ms"]], [place, place], color="#1f2933", linewidth=1)
        if run["floor_ms"] is not None:
            axes.plot([run["floor_ms"]] * 2, [place - 0.33, place + 0.33], color="#e08e0b", linewidth=2)
        note = "" if row["verdict"] == "within bounds" else f", {row['verdict']}"
        label = f"{milliseconds(run['p50_ms'])} ms, {megabytes(row['size_bytes'])} MB{note}"
        axes.annotate(label, (min(max(run["p50_ms"], run["p90_ms"]), limit), place), (6, 0),
                      textcoords="offset points", va="center", fontsize=9)  # fmt: skip
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, limit * 1.4)
    axes.set_title(f"{result['model']}: one inference, ms ({threads} threads, median; whiskers p10–p90)", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    legend = {_OURS: "perceiver_edge", _PEER: "what a user would otherwise pick", "#e08e0b": "floor of that engine"}
    handles = [Patch(color=colour, label=label) for colour, label in legend.items()]
    handles.append(Patch(facecolor="#f3d9d9", edgecolor=_COLLAPSED, hatch="///", label="output has collapsed"))
    axes.legend(handles=handles, loc="upper right", frameon=False, fontsize=9)
    axes.set_xlabel(textwrap.fill(conditions(result), 110), fontsize=7, loc="left")
    _save(figure, path)


def line_chart(sweep: Mapping[str, Any], path: Path) -> None:
    """Time and peak memory of each contender over the swept size, both axes logarithmic."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    lines = dict.fromkeys((row["engine"], row["made_by"]) for point in sweep["points"] for row in point["rows"])
    for engine, made_by in lines:
        style = {"marker": "o" if engine == "litert" else "s", "markersize": 3, "linewidth": 1.4}
        style |= {"linewidth": 2.2} if made_by.startswith("perceiver_edge") else {"linestyle": "--"}
        measured = [
            (point["size"], row)
            for point in sweep["points"]
            for row in point["rows"]
            if (row["engine"], row["made_by"]) == (engine, made_by)
        ]
        sizes = [size for size, _ in measured]
        label = _label({"engine": engine, "made_by": made_by})
        time_axes.plot(sizes, [row["p50_ms"] for _, row in measured], label=label, **style)
        memory_axes.plot(sizes, [(row["peak_bytes"] or 0) / 1e6 for _, row in measured], **style)
    for axes, title in ((time_axes, "one inference, ms"), (memory_axes, "peak memory above the engine's, MB")):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel(sweep["axis"])
        axes.grid(alpha=0.3)
    figure.legend(*time_axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
    _save(figure, path)


def _label(row: Mapping[str, Any]) -> str:
    engine = ENGINES[row["engine"]]
    return row["made_by"] if engine in row["made_by"] else f"{row['made_by']} · {engine}"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
