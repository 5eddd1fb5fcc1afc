"""What `verify --runtimes` prints: artefacts × runtimes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perceiver_edge.commands.tables import mark, print_json, print_notices, print_table
from perceiver_edge.errors import counted
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from rich.text import Text

    from perceiver_edge.devices.matrix import Matrix, Row
    from perceiver_edge.proof.metrics import Metrics


def show_matrix(result: Matrix, *, as_json: bool) -> None:
    """Artefacts × runtimes: the answers beside the float reference's and beside this processor's."""
    if as_json:
        print_json("matrix", result.to_dict())
        return
    console = result_console()
    for artefact in dict.fromkeys(row.artefact for row in result.rows):
        rows = [_cells(row) for row in result.rows if row.artefact == artefact]
        print_table(console, rows, title=artefact, least_needed=("cosine", "cosine\nto native"))
    for row in {(row.runtime, row.reason): row for row in result.rows if row.status == "not run"}.values():
        fix = "" if row.fix is None else f"\n  To run it: {row.fix}"
        print_notices(console, [f"{row.runtime} did not run: {row.reason}{fix}"])
    samples = f"{counted(result.num_samples, 'held-out sample')} ({result.samples_source})"
    console.print(f"{samples}. Native: {result.device}.", markup=False)


def _cells(row: Row) -> dict[str, str | Text]:
    """Against the reference: relative L2, cosine, top-1; against the native engine: cosine, top-1."""
    reference, native = (None if judged is None else judged.metrics for judged in (row.reference, row.native))
    return {
        "runtime": row.runtime,
        "": row.status,
        "rel. L2": "" if reference is None else f"{reference.relative_l2:.2g}",
        "cosine": "" if reference is None else f"{reference.cosine:.5f}",
        "top-1": "" if reference is None else _top1(reference),
        "cosine\nto native": (
            "" if native is None else "identical" if native.max_abs_error == 0 else f"{native.cosine:.6f}"
        ),
        "top-1\nto native": "" if native is None else _top1(native),
        "parity": "" if row.status == "not run" else mark(not row.failed),
    }


def _top1(metrics: Metrics) -> str:
    return "" if metrics.top1_agreement is None else f"{metrics.top1_agreement:.1%}"
