"""What a device imports can be read by Python 3.9, which Raspberry Pi OS bullseye has: told from the source.

`nox -s runtime-3.9` runs it there.
"""

import ast

import pytest
from rooms import FILES, PACKAGE

OLDEST = (3, 9)
ON_A_DEVICE = (PACKAGE, "errors", "installation", "memory", "commands", "measure", "measure.worker")
"""Beside the runtime part: what it stands on, and what says that the rest needs a newer Python."""
NEWER_ARGUMENTS = {"kw_only", "slots", "strict"}
NEWER_NAMES = {"file_digest", "Self", "StrEnum", "TypeAlias", "UTC", "assert_never", "pairwise", "tomllib"}

SOURCES = {
    name: path for name, path in FILES.items()
    if name.startswith(f"{PACKAGE}.runtime") or name.removeprefix(f"{PACKAGE}.") in ON_A_DEVICE
}  # fmt: skip


def too_new(source):
    """What an old Python would stumble over, each with its line."""
    try:
        tree = ast.parse(source, feature_version=OLDEST)
    except SyntaxError as error:
        return [f"{error.lineno}: {error.msg}"]
    annotations_are_read = "from __future__ import annotations" not in source
    return [f"{node.lineno}: {what}" for node in ast.walk(tree) for what in _newer(node, tree, annotations_are_read)]


def _newer(node, tree, annotations_are_read):
    yield from (keyword.arg for keyword in getattr(node, "keywords", ()) if keyword.arg in NEWER_ARGUMENTS)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.name for alias in node.names if alias.name in NEWER_NAMES)
    if isinstance(node, ast.Attribute) and node.attr in NEWER_NAMES:
        yield node.attr
    if annotations_are_read and _is_union(getattr(node, "annotation", None) or getattr(node, "returns", None)):
        yield "an annotation with | that is evaluated"
    if node in tree.body and isinstance(node, ast.Assign) and _is_union(node.value):
        yield "a type made with |"


def _is_union(node):
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_it_can_be_read(name):
    assert too_new(SOURCES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "match 1:\n    case 1: pass",
        "from dataclasses import dataclass\n@dataclass(kw_only=True)\nclass A: pass",
        "for a in zip([], [], strict=True): pass",
        "from typing import Self",
        "import hashlib\nhashlib.file_digest",
        "def f(a: int | None): pass",
        "Feeds = int | None",
        "with (open('a') as a, open('b') as b):\n    pass\ntype A = int",
    ],
)
def test_what_it_cannot_read_is_seen(source):
    assert too_new(source)
