"""Results as SVG, with matplotlib: one bar a contender, and lines over a swept size."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from contenders import ENGINES
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from presentation import conditions, megabytes, milliseconds, ordered_rows, widest
from sweep_presentation import conditions as conditions_of_sweep
from sweep_presentation import lines

_OURS, _PEER, _COLLAPSED = "#1769aa", "#9aa5b1", "#c0392b"
_LONGEST = 3.0
"""The axis ends at this many times the slowest float32 peer; a longer bar is cut, its label says how long."""

_OUR_STYLES = tuple(
    {"color": _OURS, "marker": marker, "markersize": 6, "linewidth": 2.4, "linestyle": style, "zorder": 3}
    for marker, style in (("o", "-"), ("s", "-"), ("^", "-"), ("D", "-"))
)
_PEER_STYLES = tuple(
    {"color": "#52606d", "marker": marker, "markersize": 6, "linewidth": 1.2, "linestyle": style, "fillstyle": "none"}
    for marker, style in (("v", "--"), ("P", ":"), ("X", "-."), ("*", (0, (5, 1, 1, 1, 1, 1))))
)
"""One for each line of a sweep, told apart by its marker: a picture is also printed in grey."""

_NO_COMPETITOR = {"color": _COLLAPSED, "marker": "x", "markersize": 11, "markeredgewidth": 2, "linestyle": "none",
                  "zorder": 4}  # fmt: skip

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
    """Time and peak memory of each model over the swept size, all axes logarithmic.

    Ours have filled markers and whole lines in blue, peers hollow markers and broken lines in grey; the marker tells
    which one of them it is, the legend below both panels says so. A cross lies over a point that is no competitor.
    """
    figure = Figure(figsize=(10, 5.8), layout="constrained")
    panels = {
        "p50_ms": (figure.add_subplot(1, 2, 1), "one inference, ms (median)", 1),
        "peak_bytes": (figure.add_subplot(1, 2, 2), "peak memory above the engine's own, MB", 1e-6),
    }
    styles = {True: iter(_OUR_STYLES), False: iter(_PEER_STYLES)}
    for (engine, made_by), rows in lines(sweep).items():
        is_ours = next(iter(rows.values()))["is_ours"]
        style = {"label": _label({"engine": engine, "made_by": made_by}), **next(styles[is_ours])}
        for what, (axes, _, scale) in panels.items():
            known = {size: row[what] * scale for size, row in rows.items() if row[what] is not None}
            axes.plot(list(known), list(known.values()), **style)
            bad = {size: value for size, value in known.items() if rows[size]["verdict"] != "within bounds"}
            axes.plot(list(bad), list(bad.values()), **_NO_COMPETITOR)
    for axes, title, _ in panels.values():
        _size_axes(axes, sweep)
        axes.set_title(title, loc="left", fontsize=11)
    handles, labels = panels["p50_ms"][0].get_legend_handles_labels()
    if any(row["verdict"] != "within bounds" for rows in lines(sweep).values() for row in rows.values()):
        handles.append(Line2D([], [], **_NO_COMPETITOR))
        labels.append("output out of bounds or collapsed")
    figure.suptitle(f"{sweep['model']}: cost against {sweep['axis']}", x=0.01, ha="left", fontsize=12)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False, handlelength=4,
        title=textwrap.fill(conditions_of_sweep(sweep), 150), title_fontsize=7,
    )  # fmt: skip
    _save(figure, path)


def _size_axes(axes: Axes, sweep: Mapping[str, Any]) -> None:
    """Every measured size has its tick; values are labelled in plain numbers."""
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([point["size"] for point in sweep["points"]], [_tick(sweep, point) for point in sweep["points"]])
    axes.set_xlabel(sweep["axis"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _tick(sweep: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    return f"{point['size']:,}" + (f"\n{point['input_shape']}" if sweep["axis"] == "tokens" else "")


def _label(row: Mapping[str, Any]) -> str:
    engine = ENGINES[row["engine"]]
    return row["made_by"] if engine in row["made_by"] else f"{row['made_by']} · {engine}"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
