"""What was made, for the manifest: artefacts with their census, and the versions of the tools that made them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perceiver_edge.bundle.manifest import Artefact, CalibrationInfo, FileRecord, Manifest, TensorSpec
from perceiver_edge.bundle.oldest_runtimes import oldest_runtimes
from perceiver_edge.calibration import Ranges
from perceiver_edge.compiler.artefacts import Kind
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.converters.census.take import Census, census
from perceiver_edge.converters.points import observable_outputs, quantised_points
from perceiver_edge.errors import ConversionError
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.source import Source
from perceiver_edge.provenance import tool_versions
from perceiver_edge.runtime import load


def describe(
    model: NamedModel,
    artefacts: Mapping[Kind, bytes],
    *,
    decisions: tuple[Decision, ...],
    ranges: Ranges | None,
    notices: tuple[str, ...] = (),
    source: Source | None,
    task: str | None = None,
    input_range: tuple[float, float] | None = None,
    float_sites: tuple[str, ...] = (),
) -> Manifest:
    """The manifest of a bundle with these artefacts. ``source``: how the model's import was checked.

    Raises:
        ConversionError: an int8 artefact whose GEMMs do not all run in int8, or that needs more than builtin operators.
    """
    int8 = {kind.format: quantised_points(content) for kind, content in artefacts.items() if kind.precision == "int8"}
    shared = set.intersection(*(set(points) for points in int8.values())) if int8 else set()
    return Manifest(
        name=model.name,
        config=model.checkpoint.config,
        input_spec=model.input_spec,
        class_names=model.checkpoint.class_names,
        weights_fingerprint=model.checkpoint.fingerprint,
        is_random_weights=model.is_random_weights,
        source=source,
        calibration=_calibration_info(ranges),
        lowering=decisions,
        unshared_points={format_: tuple(p for p in points if p not in shared) for format_, points in int8.items()},
        artefacts={
            kind.file_name(model.name): _artefact(kind, content, float_sites) for kind, content in artefacts.items()
        },
        tools=tool_versions(),
        notices=notices,
        task=task,
        input_range=input_range,
    )  # fmt: skip


def _calibration_info(ranges: Ranges | None) -> CalibrationInfo | None:
    if ranges is None:
        return None
    return CalibrationInfo(
        method=ranges.method, num_samples=ranges.num_samples, source=ranges.source, is_random=ranges.is_random
    )


def _artefact(kind: Kind, content: bytes, float_sites: tuple[str, ...]) -> Artefact:
    inside = census(content)
    if kind.precision == "int8":
        _require_int8(inside, kind, may_be_float=_products(content, float_sites))
    if inside.custom_operators:
        raise ConversionError(
            "The TFLite model needs operators that plain runtimes lack.",
            expected="builtin operators only", got=", ".join(inside.custom_operators),
        )  # fmt: skip
    runner = load(content)
    inputs, outputs = (
        tuple(TensorSpec(name=name, shape=spec.shape, dtype=spec.dtype.name) for name, spec in side.items())
        for side in (runner.inputs, runner.outputs)
    )
    record = FileRecord.of(content)
    return Artefact(
        size_bytes=record.size_bytes, sha256=record.sha256, format=kind.format, precision=kind.precision,
        inputs=inputs, outputs=outputs, census=inside.to_dict(),
        oldest_runtimes=oldest_runtimes(kind.format, kind.precision),
    )  # fmt: skip


def _products(content: bytes, sites: tuple[str, ...]) -> set[str]:
    """What the census may call the products of these sites: by their results, or by themselves."""
    results = observable_outputs(content) if sites else {}
    return {name for site in sites for name in (results[f"{site}.output"], site, f"{site}.weight")}


def _require_int8(inside: Census, kind: Kind, *, may_be_float: set[str]) -> None:
    """int8 asked for is int8 got: an engine that runs one GEMM in float makes the model slow, silently."""
    in_float = [
        gemm.name
        for gemm in inside.gemms
        if not gemm.is_int8
        # A stem stays in float in every artefact: it is a thousandth of a model's products.
        and "conv" not in gemm.kind.lower()
        and not may_be_float & set(re.split("[/;]", gemm.name))
    ]
    # Only integer cores have these operators, and there they are look-ups in a table.
    in_float += [kind for kind in ("ELU", "Sigmoid") if inside.operators_by_dtype.get(kind, {}).get("float32")]
    if in_float or inside.weights_dequantized_at_runtime:
        raise ConversionError(
            f"Parts of the int8 {kind.format} model do not run in int8.",
            expected="every product with weights and every integer core in int8, and no weight dequantised at run time",
            got=f"in float: {in_float or 'none'}; dequantised: {list(inside.weights_dequantized_at_runtime) or 'none'}",
        )
