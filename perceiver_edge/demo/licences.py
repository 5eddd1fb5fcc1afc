"""What a site that is given away has to say of what it is made of: `LICENCES.txt`."""

from __future__ import annotations

import json
from pathlib import Path

from perceiver_edge.demo.packages import VERSIONS, default_node_modules

FILE = "LICENCES.txt"

_HEAD = """\
This page was made with perceiver_edge, under the Apache License 2.0. The model and its examples, in bundle/ and
demo.json, are under the terms of who trained it and of who took the data.
"""

_DIGITS = """
The handwritten digits are the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak
(1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed under CC BY 4.0.
"""


def licences(node_modules: Path | None, *, has_digits: bool) -> bytes:
    """The text: engines with version, licence and origin as their ``package.json`` has them, and the data's.

    Args:
        has_digits: whether the examples are the digits that the package ships.
    """
    folder = node_modules or default_node_modules()
    engines = [_of(name, json.loads((folder / name / "package.json").read_text("utf-8"))) for name in VERSIONS]
    return "\n".join([_HEAD, *engines, *([_DIGITS] if has_digits else [])]).encode()


def _of(name: str, about: dict[str, object]) -> str:
    author, origin = about.get("author"), about.get("repository") or about.get("homepage")
    facts = [f"{name} {VERSIONS[name]}", f"licence {about.get('license', 'not told')}"]
    facts += [f"by {_text(author, 'name')}"] * bool(author) + [_text(origin, "url")] * bool(origin)
    return ", ".join(facts)


def _text(value: object, key: str) -> str:
    return str(value.get(key, value) if isinstance(value, dict) else value)
