"""What `verify` prints, and `convert` where a gate failed: every artefact against its gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perceiver_edge.commands.tables import mark, print_json, print_notices, print_table, styled
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from rich.text import Text

    from perceiver_edge.proof.parity import ArtefactParity, ParityReport


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
    for artefact in report.artefacts:
        checks: list[dict[str, str | Text]] = [
            {
                "gate": check.name, "value": f"{check.value:.5g}", "bound": check.bound, "": mark(check.passed)
            }
            for check in artefact.judgement.checks
        ]  # fmt: skip
        print_table(console, checks, title=f"{artefact.name} in {artefact.engine}")
    for artefact in report.artefacts:
        if not artefact.passed and artefact.layers:
            print_table(console, _layers(artefact), title=f"{artefact.name}: error by layer")
    print_notices(console, notices)
    if conclusion is not None:
        console.print(conclusion, style="bold", markup=False, soft_wrap=True)


def _layers(artefact: ArtefactParity) -> list[dict[str, str | Text]]:
    entry = artefact.error_enters_at
    return [
        {
            "layer": layer.name, "relative L2": f"{layer.relative_l2:.3g}", "SQNR": f"{layer.sqnr_db:.1f} dB",
            "cosine": f"{layer.cosine:.5f}", "alone": "" if layer.own is None else f"{layer.own:.2g}",
            "": styled("← enters here", "red") if layer is entry else "",
        }
        for layer in _around(artefact.layers, entry)
    ]  # fmt: skip


def _around(layers: tuple[Any, ...], entry: Any) -> tuple[Any, ...]:
    """The layers near the one where the error enters; all of them where they are few."""
    at = layers.index(entry) if entry in layers else 0
    start = max(0, min(at - _LAYERS_SHOWN // 2, len(layers) - _LAYERS_SHOWN))
    return layers[start : start + _LAYERS_SHOWN]
