"""Sample by sample, for people: the ones that a model answers otherwise than the float model, and accuracy by class."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from perceiver_edge.bundle.manifest import Manifest
    from perceiver_edge.proof.held_out import HeldOut
    from perceiver_edge.proof.parity import ArtefactParity, ParityReport

MOST_SHOWN = 12
"""Samples a model; a page of hundreds of pictures is read by nobody."""

MOST_NAMES = 10
"""Of classes, in a sentence that says what they are called."""

MOST_CLASSES = 30
"""Of more classes, the ones are shown in which the models differ most from the float model."""


def differences(manifest: Manifest, parity: ParityReport, held_out: HeldOut) -> list[dict[str, Any]]:
    """Of each model with other answers: its name, their number, and the first of them, JSON-ready.

    A sample has its number, the class by the float model, by the model and by its label (None without labels), each as
    a name, and ``picture``, a PNG as a data address (None where the input is no picture or Pillow is not installed).
    """
    found = []
    for artefact in parity.artefacts:
        if not artefact.classes:
            continue
        rows = np.flatnonzero(held_out.reference.argmax(axis=1) != np.asarray(artefact.classes))
        if len(rows):
            shown = [_sample(int(row), artefact, manifest, held_out) for row in rows[:MOST_SHOWN]]
            found.append({"name": artefact.name, "count": len(rows), "samples": shown})
    return found


def accuracy_by_class(manifest: Manifest, parity: ParityReport, held_out: HeldOut) -> dict[str, Any] | None:
    """``models``: names; ``rows``: class, its number of samples, accuracy of the float model, and of each model.

    None without labels or answers. Of more than `MOST_CLASSES` classes, those with the largest differences.
    """
    artefacts = [artefact for artefact in parity.artefacts if artefact.classes]
    if held_out.labels is None or not artefacts:
        return None
    rows: list[dict[str, Any]] = []
    for label in np.unique(held_out.labels):
        is_class = held_out.labels == label
        reference = float(np.mean(held_out.reference[is_class].argmax(axis=1) == label))
        of_models = [float(np.mean(np.asarray(artefact.classes)[is_class] == label)) for artefact in artefacts]
        rows.append({
            "name": class_name(manifest, int(label)), "count": int(is_class.sum()), "reference": reference,
            "models": of_models, "largest": max(abs(value - reference) for value in of_models),
        })  # fmt: skip
    if len(rows) > MOST_CLASSES:
        kept = sorted(rows, key=lambda row: -row["largest"])[:MOST_CLASSES]
        rows = [row for row in rows if row in kept]
    return {"models": [artefact.name for artefact in artefacts], "rows": rows}


def classes_in_words(manifest: Manifest) -> str | None:
    """What the first classes are called, and how many there are; None where they have no names."""
    names = manifest.class_names
    if names is None:
        return None
    rest = len(names) - MOST_NAMES
    more = f", and {rest:,} more (class_names in manifest.json)" if rest > 0 else ""
    return f"{len(names):,} classes, in the order of the logits: {', '.join(names[:MOST_NAMES])}{more}."


def class_name(manifest: Manifest, index: int) -> str:
    return manifest.class_names[index] if manifest.class_names else str(index)


def _sample(row: int, artefact: ArtefactParity, manifest: Manifest, held_out: HeldOut) -> dict[str, Any]:
    labels = held_out.labels
    return {
        "row": row,
        "reference": class_name(manifest, int(held_out.reference[row].argmax())),
        "answer": class_name(manifest, artefact.classes[row]),
        "label": None if labels is None else class_name(manifest, int(labels[row])),
        "picture": _picture(held_out.inputs["input"][row], manifest),
    }


def _picture(values: np.ndarray, manifest: Manifest) -> str | None:
    """Of model input ``[height, width, channels]``, back from its normalisation."""
    spec = manifest.input_spec
    if values.ndim != 3 or values.shape[-1] not in {1, 3} or not spec.declares_normalisation:
        return None
    try:
        from PIL import Image
    except ImportError:
        return None
    scaled = 255 * (values * np.asarray(spec.std) + np.asarray(spec.mean))
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
