"""A result of the GPU benchmark as Markdown and as an SVG; a row without a time says why it has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from presentation import milliseconds

BENCHMARK = "gpu"

_HEADINGS = ("what", "arithmetic", "timed", "ms", "p10–p90", "cosine", "rel. L2", "sens.", "status")
_WIDTH, _LEFT, _RIGHT, _ROW, _BAR = 980, 330, 190, 26, 16


def conditions(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"GPU: {machine['gpu'] or 'none'}; host {machine['cpu']}; random weights, {result['samples']} samples, "
        f"{result['num_samples']} proven with, {result['rounds']} rounds"
    )


def groups(result: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Rows that may be compared with each other, with their title: fastest first, then those without a time."""
    for model, batch in dict.fromkeys((row["model"], row["batch"]) for row in result["rows"]):
        rows = [row for row in result["rows"] if (row["model"], row["batch"]) == (model, batch)]
        yield f"{model}, batch {batch}", sorted(rows, key=lambda row: row.get("median_ms", float("inf")))


def markdown(result: Mapping[str, Any]) -> str:
    blocks = []
    for title, rows in groups(result):
        lines = [_HEADINGS, *([":--"] * 3 + ["--:"] * 5 + [":--"],), *map(_cells, rows)]
        blocks.append(f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join([*blocks, f"{conditions(result)}."])


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    has_time = "median_ms" in row
    return (
        f"**{row['name']}**" if row["is_ours"] else row["name"],
        row["arithmetic"],
        row["timed"],
        milliseconds(row["median_ms"]) if has_time else "–",
        f"{milliseconds(row['p10_ms'])}–{milliseconds(row['p90_ms'])}" if has_time else "–",
        *(
            "–" if row.get(key) is None else format(row[key], form)
            for key, form in (("cosine", ".5f"), ("relative_l2", ".2g"), ("sensitivity_ratio", ".3f"))
        ),
        row["status"] + (f": {_first_line(row['reason'])}" if row["reason"] else ""),
    )


def _first_line(text: str) -> str:
    return text.splitlines()[0].replace("|", "/")


def bar_chart(result: Mapping[str, Any]) -> str:
    """Horizontal bars, one block a model and batch: medians, p10–p90 as whiskers; each block has its own scale."""
    body: list[str] = []
    y = 64
    for title, rows in groups(result):
        body.append(f'<text x="16" y="{y + 12}" font-weight="600">{escape(title)}</text>')
        y += _ROW
        longest_ms = max((row["p90_ms"] for row in rows if "p90_ms" in row), default=1.0)
        for row in rows:
            body.extend(_bar(row, y, (_WIDTH - _LEFT - _RIGHT) / longest_ms))
            y += _ROW
        y += 12
    heading = "Time of one call on a GPU, milliseconds (median; whiskers p10–p90)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 30}" role="img" '
            'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">',
            f"<title>{escape(heading)}</title>",
            f'<rect width="{_WIDTH}" height="{y + 30}" fill="#ffffff"/>',
            f'<text x="16" y="26" font-size="16" font-weight="600">{escape(heading)}</text>',
            '<text x="16" y="46" fill="#52606d">blue: perceiver_edge; grey: perceiver-pytorch</text>',
            *body,
            f'<text x="16" y="{y + 12}" font-size="11" fill="#52606d">{escape(conditions(result))}</text>',
            "</svg>\n",
        ]
    )


def _bar(row: Mapping[str, Any], y: int, scale: float) -> Iterator[str]:
    yield f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(row["name"])}</text>'
    if "median_ms" not in row:
        label = f"{row['status']}: {_first_line(row['reason'])}"
        yield f'<text x="{_LEFT}" y="{y + 12}" fill="#52606d">{escape(label)}</text>'
        return
    colour = "#1769aa" if row["is_ours"] else "#9aa5b1"
    middle, end = y + _BAR / 2, _LEFT + row["p90_ms"] * scale
    yield f'<rect x="{_LEFT}" y="{y}" width="{row["median_ms"] * scale:.1f}" height="{_BAR}" fill="{colour}"/>'
    yield f'<path d="M{_LEFT + row["p10_ms"] * scale:.1f} {middle} H{end:.1f}" stroke="#1f2933" stroke-width="1.2"/>'
    yield f'<text x="{max(end, _LEFT) + 8:.1f}" y="{y + 12}">{milliseconds(row["median_ms"])} ms</text>'
