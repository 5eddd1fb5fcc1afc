"""python -m perceiver_edge.inspect FILE: what is really inside a TFLite or ONNX model."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.accelerators import suited_to
from perceiver_edge.commands.cli import Command
from perceiver_edge.commands.tables import add_row, new_table, print_json
from perceiver_edge.errors import EXIT_OK, found_in
from perceiver_edge.files.reading import MOST_MODEL_BYTES, read_file
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from rich.table import Table

    from perceiver_edge.converters.census.take import Census, Tensor

_NAME_WIDTH = 52


DESCRIPTION = """\
Show what a TFLite or ONNX model is made of: operators, dtypes, int8 GEMMs, float islands. An ONNX model is shown as
ONNX Runtime runs it on this machine, after its optimisations."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _inspect(arguments: argparse.Namespace) -> int:
    import hashlib

    from perceiver_edge.converters.census.take import census
    from perceiver_edge.runtime.formats import is_tflite
    from perceiver_edge.runtime.isolated import require_survivable

    path: Path = arguments.file
    model = read_file(path, most_bytes=MOST_MODEL_BYTES)
    if not is_tflite(model):  # a TFLite file is read here, an ONNX one is optimised by its engine
        require_survivable(model, where=str(path))
    with found_in(path):
        taken = census(model)
    identity = {"file": path.name, "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    if arguments.json:
        print_json("inspection", {**identity, **taken.to_dict()})
    else:
        _print(identity, taken)
    return EXIT_OK


def _print(identity: Mapping[str, Any], taken: Census) -> None:
    console = result_console()
    for table in (_summary(identity, taken), _operators(taken), _gemms(taken), _islands(taken)):
        if table.row_count:
            console.print(table)


def _summary(identity: Mapping[str, Any], taken: Census) -> Table:
    version = "schema version" if taken.format == "tflite" else "IR version"
    table = new_table("", "", title=identity["file"])
    table.show_header = False
    rows = {
        "format": f"{taken.format}, {version} {taken.format_version}",
        "size": f"{identity['bytes']:,} bytes",
        "sha256": identity["sha256"],
        "inputs": _described(taken.inputs),
        "outputs": _described(taken.outputs),
        "suited to": suited_to(taken.format, _precision(taken)),
        "weights": ", ".join(f"{dtype} {size:,} bytes" for dtype, size in taken.weight_bytes.items()) or "none",
        "int8 GEMMs": _int8_share(taken),
        "quantize / dequantize": f"{taken.quantize_count} / {taken.dequantize_count}",
        "float islands": _island_summary(taken),
    }
    if taken.format == "onnx":
        rows["opsets"] = _counts(taken.versions)
        rows["operators in the file"] = _counts(taken.file_operators)
    if taken.weights_dequantized_at_runtime:
        rows["weights dequantised on every run"] = ", ".join(taken.weights_dequantized_at_runtime)
    if taken.custom_operators:
        rows["custom operators"] = _counts(taken.custom_operators)
    for label, value in rows.items():
        add_row(table, label, value)
    return table


def _operators(taken: Census) -> Table:
    title = "operators" if taken.format == "tflite" else "operators, as ONNX Runtime runs them here"
    with_version = ["version"] if taken.format == "tflite" else []
    columns = ("operator", "count", "by input dtype", *with_version)
    table = new_table(*columns, title=title, numeric=("count", "version"))
    for kind, count in sorted(taken.operators.items(), key=lambda item: (-item[1], item[0])):
        version = [str(taken.versions[kind])] if with_version else []
        add_row(table, kind, str(count), _counts(taken.operators_by_dtype[kind]), *version)
    return table


def _gemms(taken: Census) -> Table:
    columns = ("name", "operator", "activation", "weight", "shape", "MACs")
    table = new_table(*columns, title="GEMMs with weights", numeric=("MACs",))
    for gemm in taken.gemms:
        add_row(
            table,
            _short(gemm.name),
            gemm.kind,
            gemm.activation_dtype + (" (quantised on the fly)" if gemm.dynamic else ""),
            gemm.weight_dtype,
            _sizes(gemm.weight_shape),
            "?" if gemm.macs is None else f"{gemm.macs:,}",
        )
    return table


def _islands(taken: Census) -> Table:
    table = new_table("operators", "which", "times", title="float islands", numeric=("operators", "times"))
    alike: dict[tuple[int, str], int] = {}
    for island in taken.float_islands:
        key = (island.size, _counts(island.operators))
        alike[key] = alike.get(key, 0) + 1
    for (size, which), times in alike.items():
        add_row(table, str(size), which, str(times))
    return table


def _int8_share(taken: Census) -> str:
    if taken.int8_gemm_share is None:
        return "no GEMM with weights"
    text = f"{sum(gemm.is_int8 for gemm in taken.gemms)} of {len(taken.gemms)} ({taken.int8_gemm_share:.0%})"
    return text if taken.int8_gemm_mac_share is None else f"{text}, {taken.int8_gemm_mac_share:.1%} of their MACs"


def _precision(taken: Census) -> str:
    """As `artefacts.Kind` names it."""
    if any(gemm.is_int8 for gemm in taken.gemms):
        return "dynamic" if any(gemm.dynamic for gemm in taken.gemms) else "int8"
    return "fp16" if "float16" in taken.weight_bytes else "fp32"


def _island_summary(taken: Census) -> str:
    if not taken.float_islands:
        return "none" if taken.int8_gemm_share else "not counted: no GEMM runs in int8"
    return f"{len(taken.float_islands)}, {sum(island.size for island in taken.float_islands)} operators"


def _described(tensors: Iterable[Tensor]) -> str:
    return ", ".join(f"{tensor.name}: {tensor.dtype} {_sizes(tensor.shape)}" for tensor in tensors)


def _sizes(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "×".join("?" if size < 0 else str(size) for size in shape) or "scalar"


def _short(name: str) -> str:
    """TFLite joins the names of fused operators; the ends say most."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH // 2 - 1]}…{name[-_NAME_WIDTH // 2 :]}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


COMMAND = Command("inspect", "what is inside a model file", DESCRIPTION, _add_arguments, _inspect)
main = COMMAND.main
