"""What commands print: one table a person likes, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from perceiver_edge.cli import result_console
from perceiver_edge.parity import ParityReport
from perceiver_edge.report import warnings

if TYPE_CHECKING:
    from rich.table import Table

    from perceiver_edge.bundle import Bundle
    from perceiver_edge.job import Job
    from perceiver_edge.progress import FinishedStage

_LAYERS_SHOWN = 12

_WIDTH_WITH_ERRORS = 110
"""A narrower terminal gets the table without the columns that the report has too."""


def bundle(result: Bundle, *, as_json: bool, stages: Sequence[FinishedStage] = ()) -> None:
    """A finished bundle: size, latency, accuracy and parity of each artefact; as JSON, what each stage took too."""
    report = ParityReport.from_dict(json.loads(result.read("parity.json")))
    latency = json.loads(result.read("latency.json"))
    if as_json:
        manifest = json.loads(result.manifest.to_json())
        _print_json({
            "path": str(result.path), "manifest": manifest, "parity": report.to_dict(), "latency": latency,
            "stages": [asdict(stage) for stage in stages],
        })  # fmt: skip
        return
    console = result_console()
    errors = ("rel. L2", "cosine", "top-1") if console.width >= _WIDTH_WITH_ERRORS else ()
    table = _table("artefact", "size", "smaller", "latency", "faster", "accuracy", *errors, "parity")
    artefacts, times = result.manifest.artefacts, latency["artefacts"]
    for verdict in report.artefacts:
        artefact = artefacts[verdict.name]
        peer = result.manifest.float_peer(artefact)
        is_peer = peer in (None, verdict.name)
        metrics = verdict.judgement.metrics
        table.add_row(
            verdict.name,
            f"{artefact.size_bytes / 1e6:.2f} MB",
            "" if is_peer or peer is None else f"{artefacts[peer].size_bytes / artefact.size_bytes:.2f}×",
            f"{times[verdict.name]['median_ms']:.3g} ms",
            "" if is_peer or peer is None else f"{times[peer]['median_ms'] / times[verdict.name]['median_ms']:.2f}×",
            "" if metrics.accuracy is None else f"{metrics.accuracy:.2%}",
            *(
                f"{metrics.relative_l2:.2g}",
                f"{metrics.cosine:.5f}",
                "" if metrics.top1_agreement is None else f"{metrics.top1_agreement:.1%}",
            )[: len(errors)],
            "[green]✓[/green]" if verdict.passed else "[red]✗[/red]",
        )
    console.print(table)
    for warning in warnings(result.manifest, report):
        console.print(f"[yellow]![/yellow] {warning}")
    console.print(
        f"Proven on {report.num_samples} samples that calibration never saw ({report.samples_source}). "
        f"Latency: {latency['device']}, {latency['threads']} threads, "
        f"medians of {latency['rounds']} interleaved rounds.",
        markup=False,
    )
    console.print(f"Bundle: {result.path}  (open report.html)", markup=False, soft_wrap=True)


def parity(report: ParityReport, *, as_json: bool) -> None:
    """Every artefact against its gates; of those that failed, the layers where the error grows."""
    if as_json:
        _print_json(report.to_dict())
        return
    console = result_console()
    table = _table("artefact", "engine", "gate", "value", "bound", "")
    for artefact in report.artefacts:
        for check in artefact.judgement.checks:
            mark = "[green]✓[/green]" if check.passed else "[red]✗[/red]"
            table.add_row(artefact.name, artefact.engine, check.name, f"{check.value:.5g}", check.bound, mark)
    console.print(table)
    for artefact in report.artefacts:
        if artefact.passed or not artefact.layers:
            continue
        layers = _table("layer", "relative L2", "SQNR", "cosine", "", title=f"{artefact.name}: error by layer")
        entry = artefact.error_enters_at
        for layer in _around(artefact.layers, entry):
            mark = "[red]← enters here[/red]" if layer is entry else ""
            layers.add_row(
                layer.name, f"{layer.relative_l2:.3g}", f"{layer.sqnr_db:.1f} dB", f"{layer.cosine:.5f}", mark
            )
        console.print(layers)


def plan(job: Job, *, as_json: bool) -> None:
    """What a compilation would do, and why."""
    decisions = job.lowering_decisions()
    facts = {
        "model": job.model.name,
        "weights": "random" if job.model.is_random_weights else f"SHA-256 {job.model.checkpoint.fingerprint[:16]}…",
        "input": f"{job.options.batch} × {list(job.model.sample_shape)}",
        "calibrate with": _calibration(job),
        "prove with": f"{len(job.proving)} samples: {job.proving.description}",
        "write to": f"{job.destination}{' (exists: needs --overwrite)' if _needs_overwrite(job) else ''}",
        "files": ", ".join(job.file_names()),
    }
    if as_json:
        steps = [{"rule": d.rule, "applied": d.applied, "reason": d.reason} for d in decisions]
        gates = {precision: vars(gates) for precision, gates in job.gates.items()}
        _print_json({**facts, "files": list(job.file_names()), "lowering": steps, "gates": gates})
        return
    console = result_console()
    summary = _table("", "", title="Dry run: nothing is written")
    for name, fact in facts.items():
        summary.add_row(name, fact)
    console.print(summary)
    lowering = _table("lowering rule", "", "why")
    for decision in decisions:
        lowering.add_row(decision.rule, "applies" if decision.applied else "skipped", decision.reason)
    console.print(lowering)


def _calibration(job: Job) -> str:
    if job.options.quantize != "int8":
        return "nothing: only int8 needs ranges"
    if job.ranges is not None:
        return f"the ranges given, of {job.ranges.num_samples} samples: {job.ranges.source}"
    return f"{len(job.calibrating)} samples: {job.calibrating.description}"


def _needs_overwrite(job: Job) -> bool:
    return job.destination.exists() and not job.options.overwrite


def _around(layers: tuple[Any, ...], entry: Any) -> tuple[Any, ...]:
    """The layers near the one where the error enters; all of them where they are few."""
    at = layers.index(entry) if entry in layers else 0
    start = max(0, min(at - _LAYERS_SHOWN // 2, len(layers) - _LAYERS_SHOWN))
    return layers[start : start + _LAYERS_SHOWN]


def _table(*columns: str, title: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    return table


def _print_json(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
