"""A result as an SVG of horizontal bars: medians, p10–p90 as whiskers, one block an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from presentation import ENGINES, conditions, megabytes, milliseconds

_WIDTH, _LEFT, _RIGHT = 980, 220, 290
_ROW, _BAR = 26, 16
_COLOURS = {"ours": "#1769aa", "peer": "#9aa5b1", "collapsed": "url(#collapsed)"}
_LONGEST = 2.0
"""The axis ends at this many times the slowest plain float32 model; longer bars are cut and say so."""


def bar_chart(result: Mapping[str, Any]) -> str:
    rows = result["rows"]
    axis_ms = min(
        max(row["p90_ms"] for row in rows),
        _LONGEST * max(row["median_ms"] for row in rows if not row["is_ours"] and row["precision"] == "fp32"),
    )
    body: list[str] = []
    y = 64
    for engine in dict.fromkeys(row["engine"] for row in rows):
        body.append(f'<text x="16" y="{y + 12}" font-weight="600">{escape(ENGINES[engine])}</text>')
        y += _ROW
        for row in sorted((row for row in rows if row["engine"] == engine), key=lambda row: row["median_ms"]):
            body.extend(_bar(row, y, axis_ms))
            y += _ROW
        y += 12
    title = f"{result['model']}: time of one inference, milliseconds (median; whiskers p10–p90)"
    legend = "blue: perceiver_edge    grey: usual converters on the plain form    hatched: collapsed output"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 40}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">',
            f"<title>{escape(title)}</title>",
            '<defs><pattern id="collapsed" width="6" height="6" patternTransform="rotate(45)" '
            'patternUnits="userSpaceOnUse"><rect width="6" height="6" fill="#f3d9d9"/>'
            '<rect width="3" height="6" fill="#c0392b"/></pattern></defs>',
            f'<rect width="{_WIDTH}" height="{y + 40}" fill="#ffffff"/>',
            f'<text x="16" y="26" font-size="16" font-weight="600">{escape(title)}</text>',
            f'<text x="16" y="46" fill="#52606d" xml:space="preserve">{escape(legend)}</text>',
            *body,
            *_wrapped(conditions(result), y + 12),
            "</svg>\n",
        ]
    )


def _bar(row: Mapping[str, Any], y: int, axis_ms: float) -> Iterator[str]:
    scale = (_WIDTH - _LEFT - _RIGHT) / axis_ms
    is_cut = row["median_ms"] > axis_ms
    length = min(row["median_ms"], axis_ms) * scale
    colour = _COLOURS["collapsed" if row["verdict"] == "collapsed" else "ours" if row["is_ours"] else "peer"]
    middle = y + _BAR / 2
    yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(row["made_by"])}</text>'
    yield f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
    end = _LEFT + length
    if is_cut:
        yield f'<path d="M{end - 14:.1f} {y + _BAR + 2} l6 -{_BAR + 4}" stroke="#ffffff" stroke-width="4"/>'
    else:
        low, high = (_LEFT + min(row[key], axis_ms) * scale for key in ("p10_ms", "p90_ms"))
        yield f'<path d="M{low:.1f} {middle} H{high:.1f}" stroke="#1f2933" stroke-width="1.2"/>'
        end = max(end, high)
    note = "" if row["verdict"] == "within bounds" else f", {row['verdict']}"
    label = f"{milliseconds(row['median_ms'])} ms, {row['speedup']:.2f}×, {megabytes(row['size_bytes'])} MB{note}"
    yield f'<text x="{end + 8:.1f}" y="{y + 12}">{escape(label)}</text>'


def _wrapped(text: str, y: int) -> Iterator[str]:
    """In lines of at most about the width of the picture."""
    words, line = text.split(), ""
    lines = []
    for word in words:
        if len(line) + len(word) > 140:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    for number, part in enumerate([*lines, line]):
        yield f'<text x="16" y="{y + 15 * number}" font-size="11" fill="#52606d">{escape(part)}</text>'
