"""What the samples' labels mean to the model: which number is which class, and what the classes are called."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from perceiver_edge.calibration import SampleSource
from perceiver_edge.calibration.labels import Label, read_labels
from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.errors import BadInputError, option


def label_samples(source: SampleSource, checkpoint: Checkpoint, given: str | os.PathLike[str] | None) -> None:
    """Make the labels of ``source`` numbers of the model's classes, and its ``label_names`` what these are called.

    Args:
        given: a file with labels (`read_labels`); None for those that the source has by itself. Folders that do not
            fit the model's classes are no labels, and a notice says so.

    Raises:
        BadInputError: labels that were given and do not fit.
    """
    is_classifier = checkpoint.config.is_classifier
    if given is not None:
        labels = _in_order(read_labels(Path(given)), source, Path(given))
        source.labels, source.label_names = _numbers(labels, checkpoint, Path(given))
    elif source.label_names is not None:  # folders
        fitted = _of_folders(source.label_names, checkpoint) if is_classifier else None
        if fitted is None and is_classifier:
            source.notices = (*source.notices, _no_classes(source.label_names, checkpoint, source.description))
        source.labels = None if fitted is None or source.labels is None else fitted[source.labels]
        names = checkpoint.class_names or source.label_names
        source.label_names = None if fitted is None else names


def with_class_names(checkpoint: Checkpoint, source: SampleSource) -> Checkpoint:
    """The checkpoint, its classes called as the samples' are where it does not name them itself."""
    if checkpoint.class_names is not None or source.label_names is None:
        return checkpoint
    return replace(checkpoint, class_names=source.label_names)


def _of_folders(folders: tuple[str, ...], checkpoint: Checkpoint) -> np.ndarray | None:
    """The class of each folder, int64; None where folders are not the model's classes."""
    if (names := checkpoint.class_names) is not None:
        return np.array([names.index(name) for name in folders], np.int64) if set(folders) <= set(names) else None
    return np.arange(len(folders)) if len(folders) == checkpoint.config.num_classes else None


def _no_classes(folders: tuple[str, ...], checkpoint: Checkpoint, description: str) -> str:
    names = checkpoint.class_names
    if names is None:
        why = f"there are {len(folders)}, and the model has {checkpoint.config.num_classes} classes"
    else:
        why = f"{next(name for name in folders if name not in names)!r} is not among the model's class_names"
    return f"The folders in {description} are not taken for classes: {why}. So there is no accuracy."


def _in_order(labels: list[Label] | dict[str, Label], source: SampleSource, path: Path) -> list[Label]:
    """One label a sample, in the source's order."""
    if isinstance(labels, dict):
        return _by_key(labels, source.keys, path)
    count = len(source.keys) if source.keys is not None else getattr(source, "__len__", lambda: None)()
    if count is not None and len(labels) != count:
        raise BadInputError(
            f"{option('labels')} does not fit the samples.", expected=f"{count} labels", got=len(labels), where=path,
            fix="one a sample, in their order (pictures are sorted by their path); or lines of picture,label",
        )  # fmt: skip
    return labels


def _by_key(labels: Mapping[str, Label], keys: Sequence[str] | None, path: Path) -> list[Label]:
    if keys is None:
        raise BadInputError(
            f"{option('labels')} names pictures, and the samples are none.", expected="one label a sample, in order",
            got="names and labels", where=path,
        )  # fmt: skip
    by_name = {Path(name).name: label for name, label in labels.items()}
    by_name = by_name if len(by_name) == len(labels) else {}  # only where no two pictures of two folders share a name
    found = [labels.get(key, by_name.get(Path(key).name)) for key in keys]
    if None in found:
        raise BadInputError(
            "A picture has no label.", expected=f"a line {keys[found.index(None)]},label", where=path,
        )  # fmt: skip
    return [label for label in found if label is not None]


def _numbers(labels: list[Label], checkpoint: Checkpoint, path: Path) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """(class numbers int64 [n], what the classes are called, if the labels or the model say so)."""
    names = checkpoint.class_names
    texts = sorted({label for label in labels if isinstance(label, str)})
    if not texts:
        return np.array(labels, np.int64), names
    if names is None and len(texts) == checkpoint.config.num_classes and all(isinstance(la, str) for la in labels):
        names = tuple(texts)  # numbered as sorted, as sklearn's LabelEncoder does
    unknown = next((text for text in texts if names is None or text not in names), None)
    if unknown is not None:
        raise BadInputError(
            "A label is no class of the model.",
            expected=f"one of {len(names)} class_names" if names else
            f"numbers of classes; or a name for each of {checkpoint.config.num_classes} classes, of which "
            f"{len(texts)} occur; or class_names in config.json", got=repr(unknown), where=path,
        )  # fmt: skip
    assert names is not None
    return np.array([names.index(la) if isinstance(la, str) else la for la in labels], np.int64), names
