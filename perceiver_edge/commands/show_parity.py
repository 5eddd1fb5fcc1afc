"""What `verify` prints, and `convert` where a gate failed: every artefact against its gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perceiver_edge.commands.tables import mark, new_table, print_json, print_notices
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from perceiver_edge.proof.parity import ParityReport


_LAYERS_SHOWN = 12


def show_parity(
    report: ParityReport, *, as_json: bool, notices: Sequence[str] = (), conclusion: str | None = None
) -> None:
    """Every artefact against its gates; of those that failed, the layers where the error grows.

    Args:
        notices: what to know before trusting it, a sentence each.
        conclusion: the last line.
    """
    if as_json:
        print_json("parity", {**report.to_dict(), "notices": list(notices), "conclusion": conclusion})
        return
    console = result_console()
    table = new_table("artefact", "engine", "gate", "value", "bound", "")
    for artefact in report.artefacts:
        for check in artefact.judgement.checks:
            table.add_row(
                artefact.name, artefact.engine, check.name, f"{check.value:.5g}", check.bound, mark(check.passed)
            )
    console.print(table)
    for artefact in report.artefacts:
        if artefact.passed or not artefact.layers:
            continue
        layers = new_table("layer", "relative L2", "SQNR", "cosine", "", title=f"{artefact.name}: error by layer")
        entry = artefact.error_enters_at
        for layer in _around(artefact.layers, entry):
            pointer = "[red]← enters here[/red]" if layer is entry else ""
            layers.add_row(
                layer.name, f"{layer.relative_l2:.3g}", f"{layer.sqnr_db:.1f} dB", f"{layer.cosine:.5f}", pointer
            )
        console.print(layers)
    print_notices(console, notices)
    if conclusion is not None:
        console.print(conclusion, style="bold", markup=False, soft_wrap=True)


def _around(layers: tuple[Any, ...], entry: Any) -> tuple[Any, ...]:
    """The layers near the one where the error enters; all of them where they are few."""
    at = layers.index(entry) if entry in layers else 0
    start = max(0, min(at - _LAYERS_SHOWN // 2, len(layers) - _LAYERS_SHOWN))
    return layers[start : start + _LAYERS_SHOWN]
