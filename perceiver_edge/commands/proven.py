"""What a proof means where it was made: the machine, the samples, the accuracy, and how this machine differs."""

from __future__ import annotations

from perceiver_edge.bundle.bundle import Bundle
from perceiver_edge.errors import counted
from perceiver_edge.measure.latency import describe_device
from perceiver_edge.proof.parity import ParityReport
from perceiver_edge.provenance import tool_versions

_DECIDING = ("ai-edge-litert", "onnxruntime", "onnxruntime-gpu", "tensorflow", "tensorflow-cpu")
"""Whose version may change an answer."""


def differences(bundle: Bundle) -> str | None:
    """What is other here than where the bundle was proven, and what helps if it fails, in one line; None if nothing."""
    here, there = tool_versions(), bundle.manifest.tools
    others = [name for name in _DECIDING if name in here and name in there and here[name] != there[name]]
    found = [f"{name} {here[name]} (proven with {there[name]})" for name in others]
    device = describe_device()
    proven_on = str(bundle.latency.get("device"))
    if device != proven_on:
        found.append(f"{device} (proven on {proven_on})")
    if not found:
        return None
    pins = " ".join(f"{name}=={there[name]}" for name in others)
    versions = f"install the versions that it was proven with (pip install {pins}), or " if pins else ""
    return f"Other here: {'; '.join(found)}. If it fails here, {versions}compile the model again on this machine."


def conclusion(report: ParityReport) -> str:
    """One line: what was proven, where, on how many samples, and how accurate it is."""
    count = len(report.artefacts)
    agreeing = sum(artefact.passed for artefact in report.artefacts)
    models = "The model agrees" if count == agreeing == 1 else f"{agreeing} of {count} models agree"
    if count == agreeing > 1:
        models = f"All {count} models agree"
    samples = f"{counted(report.num_samples, 'sample')} ({report.samples_source})"
    return f"{models} with the float model on {samples}{_accuracy(report)}, on {describe_device()}."


def _accuracy(report: ParityReport) -> str:
    metrics = [artefact.judgement.metrics for artefact in report.artefacts]
    accuracies = [m.accuracy for m in metrics if m.accuracy is not None]
    if not accuracies or metrics[0].reference_accuracy is None:
        return ""
    low, high = min(accuracies), max(accuracies)
    theirs = f"{low:.2%}" if low == high else f"{low:.2%} to {high:.2%}"
    return f", accuracy {theirs} (the float model's {metrics[0].reference_accuracy:.2%})"
