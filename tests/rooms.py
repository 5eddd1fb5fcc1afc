"""The rooms of the package and who imports whom, read from the source; ``python tests/rooms.py`` draws them.

A *room* is a folder of the package or one of its own modules: `perceiver_edge.lowering.absorb` belongs to `lowering`,
`perceiver_edge.cache` to `cache`. The doors (`DOORS`) and the public names make one room, that of the users.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

REPOSITORY = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE = "perceiver_edge"
USERS = "users"

DOORS = {PACKAGE, "__main__", "convert", "verify", "inspect", "benchmark", "train", "demo.__main__"}
"""What users import or run: the public names, and two lines for each command, which call `commands`."""


def source_files() -> dict[str, Path]:
    """Every module of the wheel by name: four of its packages are folders at the top of the repository."""
    setuptools = PYPROJECT["tool"]["setuptools"]
    files = {}
    for package in setuptools["packages"]:
        folder = _folder(package, setuptools["package-dir"])
        files |= {package if f.stem == "__init__" else f"{package}.{f.stem}": f for f in sorted(folder.glob("*.py"))}
    return files


def _folder(package: str, package_dir: dict[str, str]) -> Path:
    """Where a package lies: as the table of folders says, or inside its parent."""
    if package in package_dir:
        return REPOSITORY / package_dir[package]
    parent, _, name = package.rpartition(".")
    return _folder(parent, package_dir) / name


def imported(source: str, modules: set[str], *, types: bool) -> set[str]:
    """Names of the modules that a source imports; ``from package import module`` counts as the module.

    Args:
        types: count what stands under ``if TYPE_CHECKING``.
    """
    names = set()
    tree = ast.parse(source)
    for node in ast.walk(tree) if types else executed(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and node.level == 0, "relative imports are not resolved here"
            full_names = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= full_names & modules or {node.module}
    return names


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for what stands under ``if TYPE_CHECKING``."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    for child in children:
        yield from executed(child)


def room(module: str) -> str:
    name = module.removeprefix(f"{PACKAGE}.")
    return USERS if name in DOORS else name.split(".")[0]


FILES = source_files()
SOURCES = {module: file.read_text(encoding="utf-8") for module, file in FILES.items()}
IMPORTS = {module: imported(source, set(FILES), types=False) for module, source in SOURCES.items()}
"""What is executed, at the top of a module or in its functions."""

OWN = {
    module: {name for name in imported(source, set(FILES), types=True) if name.split(".")[0] == PACKAGE}
    for module, source in SOURCES.items()
}
"""Modules of the package alone, those for types too."""

ROOMS = {
    name: {room(i) for module, imports in OWN.items() if room(module) == name for i in imports} - {name}
    for name in {room(module) for module in FILES}
}


def floors(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms by floor: each stands one floor above the highest that it imports from."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(arrows).static_order():
        height[name] = 1 + max((height[below] for below in arrows[name]), default=-1)
    return [sorted(name for name in height if height[name] == floor) for floor in range(max(height.values()) + 1)]


def direct(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that a longer way makes (the transitive reduction): what a picture needs to show."""

    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(below) for below in arrows[name]))

    return {
        name: {one for one in below if not any(one in reached(other) for other in below - {one})}
        for name, below in arrows.items()
    }


def drawing() -> str:
    """The rooms as docs/architecture.md shows them: Mermaid, one floor a line, top floor first."""
    stack, shown = floors(ROOMS), direct(ROOMS)
    count = sum(map(len, ROOMS.values()))
    lines = [f"%% {len(ROOMS)} rooms on {len(stack)} floors, {count} arrows, all down; drawn are the direct ones"]
    lines += ["flowchart TD"]
    for floor, names in reversed(list(enumerate(stack))):
        lines += [f"  subgraph floor{floor}[ ]", *(f"    {name}" for name in names), "  end"]
    lines += [f"  {name} --> {below}" for name in sorted(shown) for below in sorted(shown[name])]
    return "\n".join(lines)


if __name__ == "__main__":
    print(drawing())
