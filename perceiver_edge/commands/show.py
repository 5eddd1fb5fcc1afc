"""What commands print: one table a person likes, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.figures import Figures, advice, figures, latency_words, slower
from perceiver_edge.bundle.pictures import pixels_become
from perceiver_edge.bundle.report import warnings
from perceiver_edge.progress import result_console
from perceiver_edge.proof.gates import ParityReport
from perceiver_edge.proof.held_out import says_untrained

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from perceiver_edge.bundle.bundle import Bundle
    from perceiver_edge.compiler.job import Job
    from perceiver_edge.devices.matrix import Matrix, Row
    from perceiver_edge.progress import FinishedStage
    from perceiver_edge.proof.metrics import Metrics

SCHEMA_VERSION = 1
"""Of the JSON documents: counts up when a key goes or changes its meaning, not when one is added."""

_LAYERS_SHOWN = 12

_WHOLE = {"artefact", "engine", "gate", "value", "bound", "layer", "operator", "size", "latency", "parity", "faster"}
"""Columns whose text is never broken into lines."""

_LEAST_NEEDED = ("after a pause", "cosine", "top-1", "rel. L2", "smaller", "size", "accuracy")
"""Columns that a narrow terminal goes without, in this order; the report has them all."""


def bundle(result: Bundle, *, as_json: bool, stages: Sequence[FinishedStage] = ()) -> None:
    """A finished bundle: size, latency, accuracy and parity of each artefact; as JSON, what each stage took too."""
    report, latency = result.parity, result.latency
    if as_json:
        manifest = json.loads(result.manifest.to_json())
        print_json("bundle", {
            "path": str(result.path), "manifest": manifest, "parity": report.to_dict(), "latency": latency,
            "stages": [asdict(stage) for stage in stages],
        })  # fmt: skip
        return
    console = result_console()
    measured = figures(result.manifest, report, latency["artefacts"])
    _print_table(console, [_artefact_row(row) for row in measured], least_needed=_LEAST_NEEDED)
    _print_notices(console, [*warnings(result.manifest, report), *slower(measured)])
    if sentence := pixels_become(result.manifest.config, result.manifest.input_spec):
        console.print(sentence, markup=False)
    console.print(
        f"Proven on {report.num_samples} samples that calibration never saw ({report.samples_source}). "
        f"Latency: {latency['device']}, {latency['threads']} threads, "
        f"medians of {latency['rounds']} interleaved rounds, ± half of their 10th to 90th percentile, back to back and "
        "after a pause of 100 ms.",
        markup=False,
    )
    if any(row.accuracy is not None for row in measured) and not says_untrained(report.samples_source):
        console.print("The accuracy may be of samples that the model was trained on; --held-out-data takes others.")
    if advised := advice(measured):
        console.print(advised, style="bold", markup=False)
    console.print(f"Bundle: {result.path}  (open report.html)", markup=False, soft_wrap=True)


def _artefact_row(row: Figures) -> dict[str, str]:
    metrics = row.metrics
    return {
        "artefact": row.name,
        "size": f"{row.artefact.size_bytes / 1e6:.2f} MB",
        "smaller": "" if row.smaller is None else f"{row.smaller:.2f}×",
        "latency": "" if row.times is None else latency_words(row.times),
        "after a pause": "" if row.times is None else _ms(row.times.get("paused_ms")),
        "faster": "" if row.faster is None else row.faster.plain,
        "accuracy": "" if metrics is None or metrics.accuracy is None else f"{metrics.accuracy:.2%}",
        "rel. L2": "" if metrics is None else f"{metrics.relative_l2:.2g}",
        "cosine": "" if metrics is None else f"{metrics.cosine:.5f}",
        "top-1": "" if metrics is None or metrics.top1_agreement is None else f"{metrics.top1_agreement:.1%}",
        "parity": "" if row.verdict is None else _mark(row.verdict.passed),
    }


def parity(report: ParityReport, *, as_json: bool, notices: Sequence[str] = (), conclusion: str | None = None) -> None:
    """Every artefact against its gates; of those that failed, the layers where the error grows.

    Args:
        notices: what to know before trusting it, a sentence each.
        conclusion: the last line.
    """
    if as_json:
        print_json("parity", {**report.to_dict(), "notices": list(notices), "conclusion": conclusion})
        return
    console = result_console()
    table = _table("artefact", "engine", "gate", "value", "bound", "")
    for artefact in report.artefacts:
        for check in artefact.judgement.checks:
            mark = _mark(check.passed)
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
    _print_notices(console, notices)
    if conclusion is not None:
        console.print(conclusion, style="bold", markup=False, soft_wrap=True)


def matrix(result: Matrix, *, as_json: bool) -> None:
    """Artefacts × runtimes: the answers beside the float reference's and beside this processor's."""
    if as_json:
        print_json("matrix", result.to_dict())
        return
    console = result_console()
    table = _table("runtime", "", "rel. L2", "cosine", "top-1", "cosine to native", "top-1 to native", "")
    artefact = None
    for row in result.rows:
        if row.artefact != artefact:
            artefact = row.artefact
            table.add_section()
            table.add_row(f"[italic]{artefact}[/italic]")
        mark = "[red]✗[/red]" if row.failed else "" if row.status == "not run" else "[green]✓[/green]"
        table.add_row(row.runtime, row.status, *_agreement(row), mark)
    console.print(table)
    for row in {(row.runtime, row.reason): row for row in result.rows if row.status == "not run"}.values():
        fix = "" if row.fix is None else f"\n  To run it: {row.fix}"
        console.print(f"[yellow]![/yellow] {row.runtime} did not run: {row.reason}{fix}")
    console.print(f"{result.num_samples} held-out samples ({result.samples_source}). Native: {result.device}.")


def _agreement(row: Row) -> tuple[str, str, str, str, str]:
    """Against the reference: relative L2, cosine, top-1; against the native engine: cosine, top-1."""
    reference, native = (None if judged is None else judged.metrics for judged in (row.reference, row.native))
    return (
        "" if reference is None else f"{reference.relative_l2:.2g}",
        "" if reference is None else f"{reference.cosine:.5f}",
        "" if reference is None else _top1(reference),
        "" if native is None else "identical" if native.max_abs_error == 0 else f"{native.cosine:.6f}",
        "" if native is None else _top1(native),
    )


def _top1(metrics: Metrics) -> str:
    return "" if metrics.top1_agreement is None else f"{metrics.top1_agreement:.1%}"


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
    if sentence := pixels_become(job.model.checkpoint.config, job.model.input_spec):
        facts["pictures"] = sentence
    if as_json:
        print_json("plan", {
            "model": job.model.name, "is_random_weights": job.model.is_random_weights,
            "weights_fingerprint": job.model.checkpoint.fingerprint,
            "input_shape": [job.options.batch, *job.model.sample_shape],
            "num_calibration": len(job.calibrating), "num_held_out": len(job.proving),
            "samples_source": job.proving.description, "output": str(job.destination),
            "needs_overwrite": _needs_overwrite(job), "files": list(job.file_names()),
            "lowering": [asdict(decision) for decision in decisions],
            "gates": {precision: vars(gates) for precision, gates in job.gates.items()}, "notices": list(job.notices),
        })  # fmt: skip
        return
    console = result_console()
    summary = _table("", "", title="Dry run: nothing is written")
    for name, fact in facts.items():
        summary.add_row(name, fact)
    console.print(summary)
    _print_notices(console, job.notices)
    lowering = _table("lowering rule", "", "why")
    for decision in decisions:
        lowering.add_row(decision.rule, "applies" if decision.applied else "skipped", decision.reason)
    console.print(lowering)


def benchmark(
    rows: Sequence[Mapping[str, Any]],
    profiles: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    device: str,
    threads: int,
    pause_ms: int,
    as_json: bool,
) -> None:
    """What `perceiver_edge.commands.benchmark` measured: a line an artefact and engine, then times by operator."""
    if as_json:
        about = {"device": device, "threads": threads, "pause_ms": pause_ms}
        print_json("benchmark", {**about, "rows": list(rows), "profiles": dict(profiles)})
        return
    console = result_console()
    table = _table("artefact", "engine", "load", "first", "p50", "p90", "after a pause", "processor", "peak memory")
    for row in rows:
        times = [_ms(row[key]) for key in ("load_ms", "first_ms", "p50_ms", "p90_ms", "paused_ms")]
        times.append(" / ".join(filter(None, (_ms(row["processor_ms"]), _ms(row["paused_processor_ms"])))))
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.1f} MB"
        table.add_row(row["artefact"], row["engine"], *times, peak)
    console.print(table)
    console.print(
        f"{device}, {threads} threads. Each in a process of its own, in turns: back to back (p50, p90) and after "
        f"{pause_ms} ms; processor: time of all threads for one inference, in both. Memory above that of the engine "
        "alone.",
        markup=False,
    )
    for name, times_of in profiles.items():
        of_operators = _table("operator", "calls", "time", "share", title=f"{name}: time by operator")
        total = sum(time["ms"] for time in times_of)
        for time in times_of:
            share = f"{time['ms'] / total:.1%}"
            of_operators.add_row(time["operator"], f"{time['calls']:g}", f"{time['ms']:.3g} ms", share)
        console.print(of_operators)


def throughput(rows: Sequence[Mapping[str, Any]], *, device: str, as_json: bool) -> None:
    """What one model answers with all threads, and what several do that share them."""
    if as_json:
        print_json("throughput", {"device": device, "rows": list(rows)})
        return
    console = result_console()
    table = _table("artefact", "engine", "streams × threads", "samples a second")
    for row in rows:
        shape = f"{row['streams']} × {row['threads']}"
        table.add_row(row["artefact"], row["engine"], shape, f"{row['samples_per_s']:.4g}")
    console.print(table)
    console.print(f"{device}. Each line in a process of its own, every stream asked all the time.", markup=False)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"


def _calibration(job: Job) -> str:
    if "int8" not in job.options.precisions:
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
        column.no_wrap = column.header in _WHOLE
    return table


def _print_table(console: Console, rows: Sequence[Mapping[str, str]], *, least_needed: Sequence[str]) -> None:
    """Rows of one set of columns, as many of these as the terminal has room for; no name is ever cut or broken."""
    left_out: list[str] = []
    for column in (*least_needed, None):
        table = _table(*(name for name in rows[0] if name not in left_out))
        for row in rows:
            table.add_row(*(text for name, text in row.items() if name not in left_out))
        needed = console.measure(table).minimum
        if needed <= console.width or column is None:
            break
        left_out.append(column)
    console.print(table, width=max(needed, console.width), crop=False)


def _mark(passed: bool) -> str:
    return "[green]✓[/green]" if passed else "[red]✗[/red]"


def _print_notices(console: Console, notices: Iterable[str]) -> None:
    from rich.markup import escape

    for notice in notices:
        console.print(f"[yellow]![/yellow] {escape(notice)}")


def print_json(kind: str, document: Mapping[str, Any]) -> None:
    """One document on stdout; ``docs/output.schema.json`` has the shape of each ``kind``."""
    stamped = {"kind": kind, "schema_version": SCHEMA_VERSION, **document}
    print(json.dumps(stamped, indent=2, ensure_ascii=False, allow_nan=False))
