"""A bundle for people: ``report.html`` (self-contained) and the model card ``README.md``, from plain values.

All numbers are worked out here; the templates only lay them out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.answers import accuracy_by_class, classes_in_words, differences
from perceiver_edge.bundle.figures import Figures, Times, advice, figures, slower
from perceiver_edge.bundle.manifest import Manifest
from perceiver_edge.bundle.pages import render
from perceiver_edge.bundle.pictures import pixels_become
from perceiver_edge.config import HuggingFaceConfig, ModelConfig, PerceiverConfig
from perceiver_edge.config.perceiver_io import PerceiverIOConfig
from perceiver_edge.errors import MissingExtraError
from perceiver_edge.proof.judgement import Check
from perceiver_edge.proof.layers import LayerError
from perceiver_edge.proof.parity import ArtefactParity, ParityReport

if TYPE_CHECKING:
    from perceiver_edge.proof.held_out import HeldOut

SMALLEST_ERROR = 1e-7
"""Left end of the error bars' logarithmic scale, one float32 ulp. The right end is 1: as much error as signal."""

CHECK_LABELS = {
    "relative_l2": "relative L2",
    "cosine": "cosine",
    "sensitivity_ratio": "input sensitivity",
    "centred_cosine": "centred cosine",
    "top1_agreement": "top-1 agreement",
    "layer_error": "worst layer",
    "accuracy_lost": "accuracy lost",
    "above_chance": "float accuracy above chance",
}


def render_report(
    manifest: Manifest,
    parity: ParityReport,
    *,
    latency: Times | None = None,
    device: str | None = None,
    held_out: HeldOut | None = None,
) -> str:
    """One HTML page that needs no network and no script.

    Args:
        held_out: the samples of the proof: shows those that a model answers otherwise, and accuracy by class.
        latency: measured times, for any of the artefacts.
        device: where they were measured, in words.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    values = view(manifest, parity, latency=latency, device=device)
    values["differences"] = [] if held_out is None else differences(manifest, parity, held_out)
    values["by_class"] = None if held_out is None else accuracy_by_class(manifest, parity, held_out)
    return render("report.html.j2", values)


def render_table(manifest: Manifest, parity: ParityReport, *, latency: Times) -> str | None:
    """The report's first table alone, as HTML for notebooks; None where jinja2 is not installed."""
    try:
        return render("table.html.j2", view(manifest, parity, latency=latency, device=None))
    except MissingExtraError:
        return None


def view(manifest: Manifest, parity: ParityReport, *, latency: Times | None, device: str | None) -> dict[str, Any]:
    measured = figures(manifest, parity, latency or {})
    rows = _artefact_rows(measured)
    place = {row["name"]: number for number, row in enumerate(rows)}
    judged = sorted(parity.artefacts, key=lambda artefact: place.get(artefact.name, len(place)))
    return {
        "manifest": manifest,
        "parity": parity,
        "device": device,
        "warnings": [*warnings(manifest, parity), *slower(measured)],
        "advice": advice(measured),
        "preprocessing": pixels_become(manifest.config, manifest.input_spec),
        "classes": classes_in_words(manifest),
        "artefacts": rows,
        "has_latency": bool(latency),
        "check_names": _check_names(parity),
        "check_labels": CHECK_LABELS,
        "verdicts": [_verdict(artefact) for artefact in judged],
        "charts": [_layer_chart(artefact) for artefact in judged if artefact.layers],
    }


def warnings(manifest: Manifest, parity: ParityReport) -> list[str]:
    """What a reader must know before trusting the numbers, a sentence each; none for a sound bundle."""
    told = []
    if manifest.is_random_weights:
        told.append("The weights are random: this model has learned nothing, its predictions mean nothing.")
    if manifest.calibration is not None and manifest.calibration.is_random:
        told.append("Calibration used random data: the int8 ranges fit noise, not real inputs.")
    if parity.is_random_data:
        told.append("Parity was measured on random data: it says little about real inputs.")
    if manifest.source is not None and manifest.source.compared_with is None and not manifest.is_random_weights:
        told.append(
            "The model was not compared with its source: nothing proves that its weights were read as they were meant. "
            f"Compile it again with --reference{_or_where_its_source_is(manifest.config)}."
        )
    if parity.num_different is not None and parity.num_different < parity.num_samples:
        told.append(f"Of the {parity.num_samples} held-out samples only {parity.num_different} are different.")
    if parity.gate_overrides:
        bounds = ", ".join(f"{name} {value:g}" for name, value in sorted(parity.gate_overrides.items()))
        told.append(f"Parity gates were changed from their defaults: {bounds}.")
    return [*told, *manifest.notices]


def _or_where_its_source_is(config: ModelConfig) -> str:
    """Which library `convert` would have asked itself."""
    ours = dict.fromkeys((PerceiverConfig, PerceiverIOConfig), "perceiver-pytorch")
    libraries = {**ours, HuggingFaceConfig: "transformers"}
    library = libraries.get(type(config))
    return "" if library is None else f", or where {library} is installed"


def _artefact_rows(rows: tuple[Figures, ...]) -> list[dict[str, Any]]:
    slowest_ms = max((row.times["median_ms"] for row in rows if row.times), default=math.nan)
    return [
        {
            "name": row.name,
            "artefact": row.artefact,
            "smaller": row.smaller,
            "times": row.times,
            "faster": row.faster,
            "median_width": 100 * row.times["median_ms"] / slowest_ms if row.times else None,
            "accuracy": row.accuracy,
            "reference_accuracy": row.metrics.reference_accuracy if row.metrics else None,
            "passed": row.verdict.passed if row.verdict else None,
            "int8_share": row.artefact.census.get("int8_gemm_share"),
        }
        for row in rows
    ]


def _check_names(parity: ParityReport) -> list[str]:
    present = {check.name for artefact in parity.artefacts for check in artefact.judgement.checks}
    return [name for name in CHECK_LABELS if name in present]


def _verdict(artefact: ArtefactParity) -> dict[str, Any]:
    checks: dict[str, Check] = {check.name: check for check in artefact.judgement.checks}
    return {"artefact": artefact, "checks": checks, "metrics": artefact.judgement.metrics}


def _layer_chart(artefact: ArtefactParity) -> dict[str, Any]:
    entry = artefact.error_enters_at
    return {
        "artefact": artefact,
        "entry": entry,
        "bars": [{"layer": layer, "width": _bar_width(layer), "is_entry": layer is entry} for layer in artefact.layers],
    }


def _bar_width(layer: LayerError) -> float:
    """Percent of the bar's track, logarithmic; full where the error is not finite."""
    if not math.isfinite(layer.relative_l2):
        return 100.0
    decades = -math.log10(SMALLEST_ERROR)
    position = math.log10(max(layer.relative_l2, SMALLEST_ERROR)) + decades
    return min(100.0, 100.0 * position / decades)
