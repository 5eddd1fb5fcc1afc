"""Tables, marks, notices and JSON documents: what all that commands print is made of."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perceiver_edge.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

SCHEMA_VERSION = 1
"""Of the JSON documents: counts up when a key goes or changes its meaning, not when one is added."""

_NO_TERMINAL_IS_WIDER = 10_000


def new_table(*columns: str, title: str | None = None, numeric: Collection[str] = ()) -> Table:
    """Of sentences: a cell that is too long for the terminal goes on in the next line. Fill it by `add_row`."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=None if title is None else styled(title, "table.title"), title_justify="left", box=box.SIMPLE_HEAD,
        pad_edge=False,
    )  # fmt: skip
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """A name from a file may hold brackets, which are no markup here, and escape sequences, which are written out."""
    table.add_row(*(styled(cell) if isinstance(cell, str) else cell for cell in cells))


def styled(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(printable(text), style)


def print_table(
    console: Console,
    rows: Sequence[Mapping[str, str | Text]],
    *,
    least_needed: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """Of names and figures: as many columns as the terminal has room for, and no text is ever cut or broken.

    Args:
        rows: cells by column, the same columns in each.
        least_needed: columns that a narrow terminal goes without, in this order.
    """
    left_out: list[str] = []
    for column in (*least_needed, None):
        table = new_table(*(name for name in rows[0] if name not in left_out), title=title)
        table.collapse_padding = True
        for shown in table.columns:
            shown.no_wrap = True
        for row in rows:
            add_row(table, *(text for name, text in row.items() if name not in left_out))
        needed = console.measure(table, options=console.options.update_width(_NO_TERMINAL_IS_WIDER)).maximum
        if needed <= console.width or column is None:
            break
        left_out.append(column)
    console.print(table, width=max(needed, console.width), crop=False)


def mark(passed: bool) -> Text:
    return styled("✓", "green") if passed else styled("✗", "red")


def print_notices(console: Console, notices: Iterable[str]) -> None:
    from rich.markup import escape

    for notice in notices:
        console.print(f"[yellow]![/yellow] {escape(notice)}")


def print_json(kind: str, document: Mapping[str, Any]) -> None:
    """One document on stdout; ``docs/output.schema.json`` has the shape of each ``kind``."""
    stamped = {"kind": kind, "schema_version": SCHEMA_VERSION, **document}
    print(json.dumps(stamped, indent=2, ensure_ascii=False, allow_nan=False))
