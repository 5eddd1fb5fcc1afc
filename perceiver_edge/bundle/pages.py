"""Templates and what they write values with: numbers, names, for HTML and for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.figures import in_mb, in_ms
from perceiver_edge.errors import counted, importing

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, view: Mapping[str, Any]) -> str:
    """A template of ``templates/`` with these values.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    with importing("jinja2", "convert"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    environment: Environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        size=in_mb,
        ms=in_ms,
        counted=counted,
        number=_number,
        percent=_percent,
        code=_code_span,
        cell=_cell,
        words=lambda key: key.replace("_", " "),
        breakable=_breakable,
        told=_told,
    )
    return environment.get_template(template).render(view)


def _told(values: Mapping[str, Any]) -> str:
    """A mapping in words: counts of operators as ``3 Add, 2 Mul``, other facts by their names."""
    if set(values) == {"operators"}:
        return ", ".join(f"{count} {name}" for name, count in values["operators"].items())
    return ", ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in values.items())


def _plain(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value)) or "scalar"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _breakable(name: str) -> Markup:
    """A name that may be broken into lines after its joints (``_ . / -``), and nowhere else."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_./-]+)(?=.)", r"\1<wbr>", str(escape(name))))


def _code_span(text: str) -> Markup:
    """Markdown code span: user text that can neither end the span nor the table cell it stands in."""
    from markupsafe import Markup

    harmless = "".join("'" if c == "`" else "¦" if c == "|" else c if c.isprintable() else "�" for c in text)
    return Markup(f"`{harmless}`")


def _cell(text: object) -> Markup:
    """Prose in Markdown: no line breaks, no markup, no HTML; apostrophes stay, because people read the source."""
    from markupsafe import Markup, escape

    flat = " ".join(str(text).split())
    plain = re.sub(r"[\\`*\[\]|#]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", flat)  # a_b is no emphasis
    return Markup(str(escape(plain)).replace("&#39;", "'").replace("&#34;", '"'))


def _number(value: float | None) -> str:
    """Five decimals around 1, where cosines differ in the fourth; three significant digits elsewhere."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.5f}" if 0.1 <= abs(value) < 10 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else "NaN" if math.isnan(value) else f"{100 * value:.1f} %"
