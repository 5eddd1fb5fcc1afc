"""Who may import whom, read from the source: imports inside functions count, those for the type checker alone do not.

An *area* is a folder of the package or one of its own modules: `perceiver_edge.lowering.absorb` belongs to `lowering`,
`perceiver_edge.pipeline` to `pipeline`.
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

LAYERS = (
    {"cache", "errors", "fourier", "memory", "provenance"},
    {"accelerators", "config", "metrics", "cli", "data", "converters", "calibration", "runtime"},
    {"checkpoints", "lowering", "parity", "progress"},
    {"cores", "manifest", "mobile_code", "model", "models"},
    {"artefacts", "bundle", "deployment", "held_out", "libraries", "report", "representative"},
    {"android", "profile", "worker"},
    {"demo", "describe", "latency", "proof", "show", "side_by_side"},
    {"devices", "job"},
    {"pipeline"},
    {"benchmark", "convert", "verify", "inspect", "train"},
    {PACKAGE},  # the public names: for users, never for the package itself
)
"""An area imports only from rows above its own, and within itself."""

ONLY = {
    "accelerators": {"errors"},
    "config": {"errors"},
    "metrics": {"errors"},
    "cli": {"errors"},
    "data": {"errors"},
    "converters": {"errors"},
    "calibration": {"errors"},
    "runtime": {"errors"},
    "checkpoints": {"errors", "config"},
    "lowering": {"errors", "config", "fourier"},
    "parity": {"errors", "metrics"},
    "model": {"errors", "config", "fourier", "checkpoints"},
    "manifest": {"errors", "config", "lowering"},
    "android": {"errors"},
    "profile": {"errors"},
    "worker": {"errors", "memory", "runtime"},  # runs beside any engine, where little else can be imported
}
"""Narrower than its row: what each of these areas knows, and nothing else."""

ENDS = {"model", "lowering", "converters", "calibration", "runtime"}
MAY_KNOW_ALL_ENDS = {"job", "pipeline", "convert", "verify"}

ADAPTERS = {
    "tensorflow": {
        "converters.tflite", "converters.tflite_weights", "converters.trace", "deployment", "held_out",
        "lowering.context", "lowering.core_survey", "lowering.execute", "lowering.float_attention",
        "lowering.integer_attention", "lowering.shared_context",
        "model.attention", "model.backend", "train",
    },
    "keras": {
        "model.attention", "model.backend", "model.block", "model.feed_forward", "model.inputs", "model.layer_norm",
        "model.linear", "model.named_variables", "model.perceiver", "train",
    },
    "tf2onnx": {"converters.onnx"},
    "onnx": {
        "converters.census_onnx", "converters.onnx", "converters.onnx_canonical", "converters.onnx_core",
        "converters.onnx_fusion", "converters.onnx_graph", "converters.onnx_half", "converters.onnx_quantize",
        "converters.points", "runtime.probe",
    },
    "onnxscript": {"converters.onnx_fusion"},
    "onnxruntime": {
        "converters.census_onnx", "converters.onnx_quantize", "profile", "runtime.onnxruntime",
        "runtime.onnxruntime_cuda",
    },
    "ai_edge_litert": {
        "converters.census_tflite", "converters.tflite_core", "converters.tflite_edit", "converters.tflite_gpu",
        "converters.tflite_graph",
        "converters.tflite_weights", "runtime.litert", "runtime.litert_cached", "runtime.litert_gpu_worker",
        "runtime.probe",
    },
    "ai_edge_quantizer": {"converters.tflite_quantize"},
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
        folder = REPOSITORY / setuptools["package-dir"].get(package, package.replace(".", "/"))
        files |= {package if f.stem == "__init__" else f"{package}.{f.stem}": f for f in sorted(folder.glob("*.py"))}
    return files


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


def area(module: str) -> str:
    return module.split(".")[1] if "." in module else module


FILES = source_files()
IMPORTS = {module: imported(file.read_text(), set(FILES)) for module, file in FILES.items()}
OWN = {module: {name for name in names if name.split(".")[0] == PACKAGE} for module, names in IMPORTS.items()}
AREAS = {
    name: {area(i) for module, imports in OWN.items() if area(module) == name for i in imports} - {name}
    for name in {area(module) for module in FILES}
}


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


def test_every_area_has_its_place_in_the_table():
    placed = [name for layer in LAYERS for name in layer]
    assert sorted(placed) == sorted(AREAS)


@pytest.mark.parametrize("name", sorted(AREAS))
def test_an_area_imports_only_from_the_layers_below_it(name):
    below: set[str] = set()
    for layer in LAYERS:
        if name in layer:
            break
        below |= layer
    assert AREAS[name] <= ONLY.get(name, below)


def test_no_narrow_rule_is_wider_than_its_layer():
    for name, allowed in ONLY.items():
        row = next(index for index, layer in enumerate(LAYERS) if name in layer)
        assert allowed <= set.union(*LAYERS[:row])


def test_only_the_pipeline_and_commands_know_both_ends():
    def reached(name: str) -> set[str]:
        return {name}.union(*(reached(other) for other in AREAS[name]))

    assert {name for name in AREAS if reached(name) >= ENDS} <= MAY_KNOW_ALL_ENDS


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
        if area(module) == "lowering"
    }
    for executing in ("context", "execute", "float_attention", "integer_attention", "shared_context", "core_survey"):
        assert outside.pop(f"{PACKAGE}.lowering.{executing}") - {"numpy"} == {"tensorflow"}
    assert set.union(*outside.values()) == {"numpy"}


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_an_engine_knows_no_other(engine):
    assert not IMPORTS[engine] & ENGINES
