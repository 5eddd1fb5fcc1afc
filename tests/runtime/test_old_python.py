"""What a device imports can be read by Python 3.9, which Raspberry Pi OS bullseye has: told from the source.

`nox -s runtime-3.9` runs it there.
"""

import ast

import pytest
from rooms import FILES, PACKAGE, imported

OLDEST = (3, 9)
LOADED_FIRST = (PACKAGE, "registration", "installation", "commands", "measure.worker")
"""Beside the runtime part: what is imported with the package, measures a device, or says that all else needs more."""
NEWER_ARGUMENTS = {"kw_only", "slots", "strict"}
NEWER_NAMES = {"file_digest", "Self", "StrEnum", "TypeAlias", "UTC", "assert_never", "pairwise", "tomllib"}


def on_a_device():
    """The runtime part and `LOADED_FIRST`, with what they import, and the packages all of it lies in."""
    reached = set()
    waiting = {n for n in FILES if n.startswith(f"{PACKAGE}.runtime") or n.removeprefix(f"{PACKAGE}.") in LOADED_FIRST}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parent = name.rpartition(".")[0]
        later = name in (PACKAGE, f"{PACKAGE}.registration")  # the public names, which first ask for a newer Python
        imports = set() if later else imported(FILES[name].read_text(encoding="utf-8"), set(FILES), types=False)
        waiting |= ({parent} | imports) & set(FILES) - reached
    return {name: FILES[name] for name in reached}


SOURCES = on_a_device()


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
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
        yield from ("a test of types with |" for argument in node.args if _is_union(argument))


def _is_union(node):
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def test_what_the_runtime_stands_on_is_among_them():
    names = {name.removeprefix(f"{PACKAGE}.") for name in SOURCES}
    assert names >= {"errors", "memory", "files", "files.reading", "files.preprocessing", "measure.turn"}
    assert not {name for name in names if name.startswith(("compiler", "lowering", "converters", "model"))}


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
        "isinstance(1, int | str)",
        "with (open('a') as a, open('b') as b):\n    pass\ntype A = int",
    ],
)
def test_what_it_cannot_read_is_seen(source):
    assert too_new(source)
