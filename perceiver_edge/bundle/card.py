"""The model card, ``README.md``: the figures, and programs that use the models."""

from __future__ import annotations

from perceiver_edge.bundle.app_code import app_code
from perceiver_edge.bundle.figures import Times
from perceiver_edge.bundle.manifest import Manifest
from perceiver_edge.bundle.pages import render
from perceiver_edge.bundle.report import view
from perceiver_edge.proof.parity import ParityReport


def render_model_card(
    manifest: Manifest, parity: ParityReport, *, latency: Times | None = None, device: str | None = None
) -> str:
    """Markdown with the numbers, and per language a program that answers with the smallest file of a format.

    Args:
        latency: measured times, for any of the artefacts.
        device: where they were measured, in words.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    values = view(manifest, parity, latency=latency, device=device)
    return render("model_card.md.j2", {**values, **app_code(manifest)})
