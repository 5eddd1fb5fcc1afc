"""What was measured of each artefact, beside its float32 peer, and which artefact to ship."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from perceiver_edge.bundle.manifest import Artefact, Manifest
    from perceiver_edge.proof.metrics import Metrics
    from perceiver_edge.proof.parity import ArtefactParity, ParityReport

Times = Mapping[str, Mapping[str, Any]]
"""Artefact file name to ``median_ms``, ``p10_ms``, ``p90_ms`` of one inference, and ``samples_ms`` of each round."""

SAME_SPEED = 0.05
"""Two files whose medians differ by less than this share count as equally fast: a second run may turn them round."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast; ``spread``: half of the way from the 10th to the 90th percentile over rounds.

    Ratios are taken within each round. ``spread`` is None where only the medians of the rounds are known. ``is_clear``:
    1 lies outside of the way from the 10th to the 90th percentile.
    """

    median: float
    spread: float | None = None
    is_clear: bool = True

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" (±{self.spread:.1g})"
        return f"{self.plain}{spread}"

    @property
    def plain(self) -> str:
        """Without the spread; "≈" where the one is not clearly faster than the other."""
        return f"{'' if self.is_clear else '≈ '}{self.median:.2f}×"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One artefact. ``smaller``, ``faster``: than the float32 file of its format, where that is another one."""

    name: str
    artefact: Artefact
    verdict: ArtefactParity | None
    times: Mapping[str, Any] | None
    smaller: float | None
    faster: Ratio | None

    @property
    def metrics(self) -> Metrics | None:
        return None if self.verdict is None else self.verdict.judgement.metrics

    @property
    def accuracy(self) -> float | None:
        return None if self.metrics is None else self.metrics.accuracy


def figures(manifest: Manifest, parity: ParityReport, times: Times) -> tuple[Figures, ...]:
    """Of every artefact, in the manifest's order of formats, TFLite first, and from large to small."""
    verdicts = {verdict.name: verdict for verdict in parity.artefacts}
    order = sorted(manifest.artefacts.items(), key=lambda item: (item[1].format != "tflite", -item[1].size_bytes))
    return tuple(_figures(name, manifest, verdicts.get(name), times) for name, _ in order)


def _figures(name: str, manifest: Manifest, verdict: ArtefactParity | None, times: Times) -> Figures:
    artefact = manifest.artefacts[name]
    peer = manifest.float_peer(artefact)
    has_peer = peer not in (None, name)
    return Figures(
        name=name,
        artefact=artefact,
        verdict=verdict,
        times=times.get(name),
        smaller=manifest.artefacts[peer].size_bytes / artefact.size_bytes if peer and has_peer else None,
        faster=_ratio(times[peer], times[name]) if peer and has_peer and {peer, name} <= set(times) else None,
    )


def _ratio(peer: Mapping[str, Any], own: Mapping[str, Any]) -> Ratio:
    peer_ms, own_ms = peer.get("samples_ms", ()), own.get("samples_ms", ())
    if not own_ms or len(peer_ms) != len(own_ms):
        return Ratio(median=peer["median_ms"] / own["median_ms"])
    low, median, high = np.percentile(np.divide(peer_ms, own_ms), (10, 50, 90))
    return Ratio(median=float(median), spread=float(high - low) / 2, is_clear=not low <= 1 <= high)


def slower(rows: tuple[Figures, ...]) -> list[str]:
    """Of every file that is clearly slower than its float32 peer: a sentence that says so, and why that happens."""
    why = {
        "fp16": "a processor without half-precision arithmetic converts every weight; the file is for GPUs",
        "dynamic": "quantising the activations of every call costs more than its int8 products save",
        "int8": "rounding what enters and leaves the int8 products costs more than they save: they are small, or this "
        "processor has no int8 dot products (VNNI, or Armv8.2's)",
    }
    return [
        f"{row.name} is slower than its float32 file here ({row.faster}): {why[row.artefact.precision]}."
        for row in rows
        if row.faster is not None and row.faster.is_clear and row.faster.median < 1 and row.artefact.precision in why
    ]


def latency_words(times: Mapping[str, Any]) -> str:
    """The median, and half of the way from the 10th to the 90th percentile where it shows."""
    spread = (times["p90_ms"] - times["p10_ms"]) / 2
    return f"{in_ms(times['median_ms'])} ±{_significant(spread, 1)}"


def in_ms(milliseconds: float) -> str:
    """Three digits that count."""
    return f"{_significant(milliseconds, 3)} ms"


def in_mb(num_bytes: int) -> str:
    """One unit for all files, since they are compared."""
    megabytes = num_bytes / 1e6
    return f"{megabytes:.{0 if megabytes >= 100 else 2 if megabytes >= 0.1 else 3}f} MB"


def _significant(value: float, digits: int) -> str:
    """Rounded to so many digits, and written without an exponent."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if rounded >= 1000 else f"{rounded:g}"


def advice(rows: tuple[Figures, ...]) -> str | None:
    """One sentence: which file to ship, and what that costs and gains; None where nothing was timed.

    It is the fastest of those that passed, and of equally fast ones (`SAME_SPEED`) the smallest.
    """
    timed = [row for row in rows if row.times is not None and row.verdict is not None and row.verdict.passed]
    if not timed:
        return None
    least_ms = min(row.times["median_ms"] for row in timed if row.times)
    as_fast = [row for row in timed if row.times and row.times["median_ms"] <= least_ms * (1 + SAME_SPEED)]
    best = min(as_fast, key=lambda row: row.artefact.size_bytes)
    gains = [f"{best.smaller:.1f}× smaller"] if best.smaller is not None else []
    if best.faster is not None:
        spread = "" if best.faster.spread is None else f" (±{best.faster.spread:.1g})"
        gains.append(f"{best.faster.median:.1f}× as fast{spread}")
    if not gains and len(timed) > 1:
        gains = ["no smaller file is faster on this machine"]
    return f"Ship {best.name}: {', '.join([_agreement(best.metrics), *gains])}."


def _agreement(metrics: Metrics | None) -> str:
    assert metrics is not None
    if metrics.accuracy is not None and metrics.reference_accuracy is not None:
        lost = metrics.reference_accuracy - metrics.accuracy
        return "as accurate" if lost <= 0 else f"accuracy {100 * lost:.2g} points lower"
    if metrics.top1_agreement is not None:
        return f"the same class as the float model for {metrics.top1_agreement:.1%} of the samples"
    return f"relative error {metrics.relative_l2:.2g}"
