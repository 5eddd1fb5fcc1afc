"""Who may import whom, read from the source: imports inside functions count, those for the type checker alone do not.

An *area* is a folder of the package or one of its own modules: `perceiver_edge.lowering.absorb` belongs to `lowering`,
`perceiver_edge.compiler.pipeline` to `pipeline`.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "perceiver_edge"

DOORS = {"convert", "verify", "inspect", "benchmark", "train", "demo.__main__"}
"""What ``python -m perceiver_edge.<command>`` runs: two lines each, which call `commands`."""

LAYERS = (
    {"errors", "fourier", "memory"},
    {"cache", "config", "progress", "provenance", "data", "converters", "calibration", "runtime"},
    {"checkpoints", "lowering"},
    {"model"},
    {"proof"},
    {"bundle", "measure"},
    {"demo", "compiler"},
    {"devices"},
    {"commands"},
    {PACKAGE},  # the public names and the doors: for users, never for the package itself
)
"""A room imports only from rows above its own, and within itself."""

ONLY = {
    "cache": set(),
    "data": {"errors"},
    "converters": {"errors"},
    "calibration": {"errors"},
    "runtime": {"errors"},
    "checkpoints": {"errors", "config"},
    "lowering": {"errors", "config", "fourier"},
    "model": {"errors", "config", "fourier", "checkpoints"},
    "bundle": {"errors", "config", "lowering", "proof"},
    "measure": {"errors", "memory", "provenance", "proof", "runtime"},
}
"""Narrower than its row: what each of these rooms knows, and nothing else."""

ALONE = {"measure.worker": {"errors", "memory", "runtime"}}
"""Modules that run beside any engine, where little else can be imported."""

ENDS = {"model", "lowering", "converters", "calibration", "runtime"}
MAY_KNOW_ALL_ENDS = {"compiler", "commands", PACKAGE}

ADAPTERS = {
    "tensorflow": {
        "compiler.deployment", "converters.tflite.convert", "converters.tflite.weights", "converters.trace",
        "lowering.context", "lowering.core_survey", "lowering.execute", "lowering.float_attention",
        "lowering.integer_attention", "lowering.shared_context", "model.attention", "model.backend", "proof.held_out",
        "commands.train",
    },
    "keras": {
        "model.attention", "model.backend", "model.block", "model.feed_forward", "model.inputs", "model.layer_norm",
        "model.linear", "model.named_variables", "model.perceiver", "commands.train",
    },
    "tf2onnx": {"converters.onnx.convert"},
    "onnx": {
        "converters.census.onnx", "converters.onnx.canonical", "converters.onnx.convert", "converters.onnx.core",
        "converters.onnx.fusion", "converters.onnx.graph", "converters.onnx.half", "converters.onnx.quantize",
        "converters.points", "runtime.probe",
    },
    "onnxscript": {"converters.onnx.fusion"},
    "onnxruntime": {
        "converters.census.onnx", "converters.onnx.quantize", "measure.profile", "runtime.onnxruntime",
        "runtime.onnxruntime_cuda",
    },
    "ai_edge_litert": {
        "converters.census.tflite", "converters.tflite.core", "converters.tflite.edit", "converters.tflite.gpu",
        "converters.tflite.graph", "converters.tflite.weights", "runtime.litert", "runtime.litert_cached",
        "runtime.litert_gpu_worker", "runtime.probe",
    },
    "ai_edge_quantizer": {"converters.tflite.quantize"},
    "tflite_runtime": {"runtime.tflite_runtime"},
    "selenium": {"demo.browser"},
    "torch": set(),
    "perceiver_pytorch": set(),
}  # fmt: skip
"""The only modules that import each heavy library."""

ENGINES = {f"{PACKAGE}.runtime.{engine}" for engine in ("litert", "tflite_runtime", "onnxruntime")}


def source_files() -> dict[str, Path]:
    """Every module of the wheel by name: four of its packages are folders at the top of the repository."""
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
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


def imported(source: str, modules: set[str]) -> set[str]:
    """Names of the modules that a source imports; ``from package import module`` counts as the module."""
    names = set()
    for node in executed(ast.parse(source)):
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
    return PACKAGE if name in DOORS else name.split(".")[0]


FILES = source_files()
IMPORTS = {module: imported(file.read_text(), set(FILES)) for module, file in FILES.items()}
OWN = {module: {name for name in names if name.split(".")[0] == PACKAGE} for module, names in IMPORTS.items()}
ROOMS = {
    name: {room(i) for module, imports in OWN.items() if room(module) == name for i in imports} - {name}
    for name in {room(module) for module in FILES}
}


@pytest.mark.parametrize("door", sorted(DOORS))
def test_a_door_only_opens(door):
    assert len(FILES[f"{PACKAGE}.{door}"].read_text().splitlines()) <= 6
    assert OWN[f"{PACKAGE}.{door}"] <= {name for name in FILES if room(name) == "commands"}


def test_the_reader_sees_imports_in_functions_and_not_those_for_types():
    source = """
from typing import TYPE_CHECKING
import a.b
if TYPE_CHECKING:
    import c
else:
    import d
def f():
    from p import m, name
    from q import name
"""
    assert imported(source, {"p.m"}) == {"typing", "a.b", "d", "p.m", "q"}


def test_every_room_has_its_place_in_the_table():
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(ROOMS)


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_a_room_imports_only_from_the_layers_below_it(name):
    below: set[str] = set()
    for layer in LAYERS:
        if name in layer:
            break
        below |= layer
    assert ROOMS[name] <= ONLY.get(name, below)


def test_no_narrow_rule_is_wider_than_its_layer():
    for name, allowed in ONLY.items():
        row = next(index for index, layer in enumerate(LAYERS) if name in layer)
        assert allowed <= set.union(*LAYERS[:row])


@pytest.mark.parametrize("module", sorted(ALONE))
def test_a_module_that_runs_beside_any_engine_knows_little(module):
    assert {room(name) for name in OWN[f"{PACKAGE}.{module}"]} <= ALONE[module]


def test_only_the_compiler_and_commands_know_both_ends():
    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in ROOMS[name]))

    assert {name for name in ROOMS if reached(name) >= ENDS} <= MAY_KNOW_ALL_ENDS


def test_modules_import_each_other_in_no_cycle():
    try:
        TopologicalSorter(OWN).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("library", sorted(ADAPTERS))
def test_a_heavy_library_is_imported_only_where_it_is_adapted(library):
    users = {module for module, names in IMPORTS.items() if library in {name.split(".")[0] for name in names}}
    assert users == {f"{PACKAGE}.{module}" for module in ADAPTERS[library]}


def test_lowering_is_numpy_but_for_the_modules_that_execute():
    outside = {
        module: {name.split(".")[0] for name in names} - {PACKAGE} - sys.stdlib_module_names
        for module, names in IMPORTS.items()
        if room(module) == "lowering"
    }
    for executing in ("context", "execute", "float_attention", "integer_attention", "shared_context", "core_survey"):
        assert outside.pop(f"{PACKAGE}.lowering.{executing}") - {"numpy"} == {"tensorflow"}
    assert set.union(*outside.values()) == {"numpy"}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_an_engine_knows_no_other(engine):
    assert not IMPORTS[engine] & ENGINES
