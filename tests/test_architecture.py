"""Who may import whom (`rooms.py` reads it from the source): imports in functions count, and those for types."""

from __future__ import annotations

import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from rooms import DOORS, FILES, IMPORTS, OWN, PACKAGE, REPOSITORY, ROOMS, USERS, direct, drawing, floors, imported, room

from perceiver_edge.runtime.engines import ENGINES

LAYERS = (
    {"_version", "errors", "fourier", "memory"},
    {"files"},
    {"cache", "config", "installation", "progress", "data", "converters", "calibration", "runtime"},
    {"checkpoints", "lowering", "provenance"},
    {"model"},
    {"proof", "registration"},
    {"bundle", "measure"},
    {"demo", "compiler"},
    {"devices"},
    {"commands"},
    {USERS},  # the public names and the doors: never for the package itself
)
"""A room imports only from rows above its own, and within itself."""

ONLY = {
    "cache": {"errors"},
    "data": {"errors"},
    "converters": {"errors"},
    "files": {"errors"},
    "calibration": {"errors", "files"},
    "runtime": {"errors", "files"},
    "checkpoints": {"errors", "config", "files"},
    "lowering": {"errors", "config", "fourier"},
    "model": {"errors", "config", "fourier", "checkpoints", "installation"},
    "bundle": {"errors", "cache", "config", "files", "lowering", "proof", "runtime"},
    "measure": {"errors", "memory", "provenance", "proof", "runtime"},
}
"""Narrower than its row: what each of these rooms knows, and nothing else."""

ALONE = {"measure.worker": {"errors", "measure", "memory", "runtime"}, "measure.turn": set()}
"""Modules that run beside any engine, where little else can be imported."""

ENDS = {"model", "lowering", "converters", "calibration", "runtime"}

ADAPTERS = {
    "tensorflow": {
        "compiler.deployment", "compiler.integer_arithmetic", "compiler.integer_model", "converters.tflite.convert",
        "converters.tflite.weights",
        "converters.trace",
        "lowering.activations", "lowering.attention_residual", "lowering.context", "lowering.core_survey",
        "lowering.exponential_attention", "lowering.execute", "lowering.float_attention",
        "lowering.integer_attention", "lowering.inverted_attention", "lowering.line_attention",
        "lowering.padded_attention", "lowering.row_attention", "lowering.run_stack", "lowering.shared_context",
        "lowering.tabulated_context", "lowering.tokens",
        "compiler.plain_reference",
        "model.attention", "model.backend", "model.saved", "proof.reference", "commands.train",
    },
    "keras": {
        "model.attention", "model.attention_residual", "model.backend", "model.block", "model.feed_forward",
        "model.inputs", "model.layer_norm",
        "model.linear", "model.named_variables", "model.perceiver", "model.saved", "commands.train",
    },
    "tf2onnx": {"converters.onnx.convert"},
    "onnx": {
        "converters.census.onnx", "converters.onnx.canonical", "converters.onnx.convert", "converters.onnx.core",
        "converters.onnx.fusion", "converters.onnx.graph", "converters.onnx.half", "converters.onnx.half_constants",
        "converters.onnx.quantize",
        "converters.points", "runtime.probe",
    },
    "onnxscript": {"converters.onnx.fusion"},
    "onnxruntime": {
        "converters.census.onnx", "converters.onnx.quantize", "measure.profile", "runtime.onnxruntime",
        "runtime.onnxruntime_cuda",
    },
    "ai_edge_litert": {
        "converters.census.tflite", "converters.tflite.core", "converters.tflite.edit", "converters.tflite.gpu",
        "converters.tflite.graph", "converters.tflite.half_constants", "converters.tflite.int8_editor",
        "converters.tflite.pack", "converters.tflite.row_core",
        "converters.tflite.versions", "converters.tflite.weights",
        "runtime.litert", "runtime.litert_cached",
        "runtime.litert_gpu_worker", "runtime.probe",
    },
    "ai_edge_quantizer": {"converters.tflite.quantize"},
    "tflite_runtime": {"runtime.tflite_runtime"},
    "selenium": {"demo.browser"},
    "huggingface_hub": {"bundle.hub"},
    "torch": {
        "checkpoints.torch_files", "compiler.perceiver_io_models", "compiler.torch_models",
        "compiler.transformers_models",
    },
    "transformers": {"compiler.transformers_models"},
    "perceiver_pytorch": {"compiler.perceiver_io_models", "compiler.torch_models"},
}  # fmt: skip
"""The only modules that import each heavy library."""

ENGINE_MODULES = {f"{PACKAGE}.runtime.{engine}" for engine in ENGINES}


@pytest.mark.parametrize("door", sorted(DOORS - {PACKAGE}))
def test_a_door_only_opens(door):
    assert len(FILES[f"{PACKAGE}.{door}"].read_text().splitlines()) <= 7
    assert OWN[f"{PACKAGE}.{door}"] <= {name for name in FILES if room(name) == "commands"}


def test_the_reader_sees_imports_in_functions_and_those_for_types_where_asked():
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
    assert imported(source, {"p.m"}, types=False) == {"typing", "a.b", "d", "p.m", "q"}
    assert imported(source, {"p.m"}, types=True) == {"typing", "a.b", "c", "d", "p.m", "q"}


def test_floors_and_direct_arrows():
    arrows = {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert floors(arrows) == [["a"], ["b"], ["c"]]
    assert direct(arrows) == {"a": set(), "b": {"a"}, "c": {"b"}}


def test_the_drawing_in_the_documents_is_that_of_the_code():
    """`python tests/rooms.py` prints it."""
    assert drawing() in (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")


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


def test_only_the_compiler_knows_all_ends():
    assert {name for name, below in ROOMS.items() if below >= ENDS} == {"compiler"}


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
    for executing in (
        "activations",
        "attention_residual",
        "context",
        "core_survey",
        "execute",
        "exponential_attention",
        "float_attention",
        "integer_attention",
        "inverted_attention",
        "line_attention",
        "padded_attention",
        "row_attention",
        "run_stack",
        "shared_context",
        "tabulated_context",
        "tokens",
    ):
        assert outside.pop(f"{PACKAGE}.lowering.{executing}") - {"numpy"} == {"tensorflow"}
    assert set.union(*outside.values()) == {"numpy"}


@pytest.mark.parametrize("engine", sorted(ENGINE_MODULES))
def test_an_engine_knows_no_other(engine):
    assert not IMPORTS[engine] & ENGINE_MODULES


def test_the_root_is_a_hall_with_few_doors():
    """Public names and `__main__` aside: what everybody stands on, and the doors."""
    root = [name for name in FILES if name.count(".") == 1 and FILES[name].stem not in ("__init__", "__main__")]
    assert len(root) <= 14
