"""What `convert` prints: a finished bundle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from perceiver_edge.bundle.figures import Figures, advice, figures, in_mb, in_ms, latency_words, slower
from perceiver_edge.bundle.pictures import pixels_become
from perceiver_edge.bundle.report import warnings
from perceiver_edge.commands.tables import mark, print_json, print_notices, print_table
from perceiver_edge.errors import counted
from perceiver_edge.progress import result_console
from perceiver_edge.proof.held_out import says_untrained

if TYPE_CHECKING:
    from rich.text import Text

    from perceiver_edge.bundle.bundle import Bundle
    from perceiver_edge.progress import FinishedStage


_LEAST_NEEDED = ("after\na pause", "cosine", "top-1", "rel. L2", "smaller", "size", "accuracy")
"""Columns that a narrow terminal goes without, in this order; the report has them all."""


def show_bundle(result: Bundle, *, as_json: bool, stages: Sequence[FinishedStage] = ()) -> None:
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
    print_table(console, [_artefact_row(row) for row in measured], least_needed=_LEAST_NEEDED)
    print_notices(console, [*warnings(result.manifest, report), *slower(measured)])
    if sentence := pixels_become(result.manifest.config, result.manifest.input_spec):
        console.print(sentence, markup=False)
    console.print(
        f"Proven on {counted(report.num_samples, 'sample')} that calibration never saw ({report.samples_source}). "
        f"Latency: {latency['device']}, {counted(latency['threads'], 'thread')}, "
        f"medians of {latency['rounds']} interleaved rounds, ± half of their 10th to 90th percentile, back to back and "
        "after a pause of 100 ms.",
        markup=False,
    )
    if any(row.accuracy is not None for row in measured) and not says_untrained(report.samples_source):
        console.print("The accuracy may be of samples that the model was trained on; --held-out-data takes others.")
    if advised := advice(measured):
        console.print(advised, style="bold", markup=False)
    console.print(f"Bundle: {result.path}  (open report.html)", markup=False, soft_wrap=True)


def _artefact_row(row: Figures) -> dict[str, str | Text]:
    metrics = row.metrics
    return {
        "artefact": row.name,
        "size": in_mb(row.artefact.size_bytes),
        "smaller": "" if row.smaller is None else f"{row.smaller:.2f}×",
        "latency": "" if row.times is None else latency_words(row.times),
        "after\na pause": "" if row.times is None else in_ms(row.times["paused_ms"]),
        "faster": "" if row.faster is None else row.faster.plain,
        "accuracy": "" if metrics is None or metrics.accuracy is None else f"{metrics.accuracy:.2%}",
        "rel. L2": "" if metrics is None else f"{metrics.relative_l2:.2g}",
        "cosine": "" if metrics is None else f"{metrics.cosine:.5f}",
        "top-1": "" if metrics is None or metrics.top1_agreement is None else f"{metrics.top1_agreement:.1%}",
        "parity": "" if row.verdict is None else mark(row.verdict.passed),
    }
