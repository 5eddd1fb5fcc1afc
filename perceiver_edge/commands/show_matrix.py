"""What `verify --runtimes` prints: artefacts × runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perceiver_edge.commands.tables import new_table, print_json
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from perceiver_edge.devices.matrix import Matrix, Row
    from perceiver_edge.proof.metrics import Metrics


def show_matrix(result: Matrix, *, as_json: bool) -> None:
    """Artefacts × runtimes: the answers beside the float reference's and beside this processor's."""
    if as_json:
        print_json("matrix", result.to_dict())
        return
    console = result_console()
    table = new_table("runtime", "", "rel. L2", "cosine", "top-1", "cosine to native", "top-1 to native", "")
    artefact = None
    for row in result.rows:
        if row.artefact != artefact:
            artefact = row.artefact
            table.add_section()
            table.add_row(f"[italic]{artefact}[/italic]")
        verdict = "[red]✗[/red]" if row.failed else "" if row.status == "not run" else "[green]✓[/green]"
        table.add_row(row.runtime, row.status, *_agreement(row), verdict)
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
