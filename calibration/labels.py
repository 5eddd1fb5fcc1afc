"""The right class of a sample: beside it in what yields samples, in the folder that a picture lies in, or in a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.tensors import as_numpy
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.arrays import open_npy
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

Label = int | str
"""The number of a class, or its name."""

_MOST = np.iinfo(np.int64).max
"""Of the number of a class: what the arrays of labels hold."""

_KEYS = ("label", "labels")
_HEADERS = {"label", "labels", "class", "target", "category"}


def take_label(item: Any, *, where: str) -> tuple[Any, int | None]:
    """(the sample, the number of its class) of ``(sample, label)``, or of a mapping that has ``label`` or ``labels``.

    A label is an integer, or a vector with a single one (as Keras' ``to_categorical`` makes).

    Raises:
        BadInputError: a label of another kind.
    """
    if isinstance(item, tuple) and len(item) == 2:
        sample, label = item
    elif isinstance(item, Mapping) and (key := next((key for key in _KEYS if key in item), None)):
        sample, label = {name: value for name, value in item.items() if name != key}, item[key]
    else:
        return item, None
    return sample, None if label is None else _class_number(label, where)


def _class_number(label: Any, where: str) -> int:
    try:
        values = np.asarray(as_numpy(label))
    except Exception as error:  # a ragged list, or a tensor that refuses
        raise BadInputError("A label is not usable.", got=error, where=where) from error
    if values.size == 1 and np.issubdtype(values.dtype, np.integer) and abs(int(values.reshape(()))) <= _MOST:
        return int(values.reshape(()))
    is_number = np.issubdtype(values.dtype, np.number)
    if is_number and values.ndim == 1 and np.count_nonzero(values) == 1 and values.max() == 1:
        return int(values.argmax())
    raise BadInputError(
        "A label is not usable.", expected="the number of a class, or a vector with a single one",
        got=f"{values.dtype} {list(values.shape)}", where=where,
    )  # fmt: skip


def folders_as_classes(folder: Path, pictures: Sequence[Path]) -> tuple[tuple[str, ...], NDArray[np.int64]] | None:
    """(class names, int64 [n]) where every picture lies in a folder of ``folder``: each of these is a class.

    Classes are numbered as torchvision's ``ImageFolder`` does: by the folders' names, sorted. None where pictures lie
    beside the folders.
    """
    inside = [picture.relative_to(folder).parts for picture in pictures]
    if any(len(parts) < 2 for parts in inside):
        return None
    folders = (entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    names = tuple(sorted(folders))
    number_of = {name: number for number, name in enumerate(names)}
    return names, np.array([number_of[parts[0]] for parts in inside], np.int64)


def read_labels(path: Path) -> list[Label] | dict[str, Label]:
    """Labels from a file: in the order of the samples, or by the name of a picture.

    Args:
        path: ``.npy`` integers [n]; ``.json``, a list or a mapping; or text, a line a sample: ``label``, or
            ``picture,label`` with the picture's path inside its folder. A first line with ``label`` for a label is a
            header. A label is a class's number or its name.

    Raises:
        BadInputError: no such file, or none of these.
    """
    try:
        if path.suffix == ".npy":
            return _in_range(_whole_numbers(open_npy(path), path), path)
        text = read_file(path, most_bytes=MOST_TEXT_BYTES, what="The file of labels").decode("utf-8-sig")
        return _in_range(_of_json(json.loads(text), path) if path.suffix == ".json" else _of_rows(text, path), path)
    except (ValueError, csv.Error, RecursionError) as error:
        raise _unusable(path, error) from error


def _in_range(labels: list[Label] | dict[str, Label], path: Path) -> list[Label] | dict[str, Label]:
    for label in labels.values() if isinstance(labels, dict) else labels:
        if isinstance(label, int) and abs(label) > _MOST:
            raise _unusable(path, f"the number {label}")
    return labels


def _whole_numbers(values: NDArray[Any], path: Path) -> list[Label]:
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise _unusable(path, f"{values.dtype} {list(values.shape)}")
    return [int(value) for value in values]


def _of_json(content: Any, path: Path) -> list[Label] | dict[str, Label]:
    labels = list(content.values()) if isinstance(content, dict) else content
    is_list = isinstance(labels, list) and labels
    if not is_list or not all(isinstance(label, int | str) and not isinstance(label, bool) for label in labels):
        raise _unusable(path, "JSON of another form")
    return content


def _of_rows(text: str, path: Path) -> list[Label] | dict[str, Label]:
    delimiter = "\t" if "\t" in text else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter) if any(row)]
    if rows and rows[0][-1].lower() in _HEADERS:
        rows = rows[1:]
    widths = {len(row) for row in rows}
    if widths == {1}:
        return [_label(row[0]) for row in rows]
    if widths == {2}:
        return {row[0]: _label(row[1]) for row in rows}
    raise _unusable(path, f"lines of {', '.join(map(str, sorted(widths)))} columns" if rows else "an empty file")


def _label(text: str) -> Label:
    return int(text) if text.isascii() and text.isdigit() else text


def _unusable(path: Path, got: object) -> BadInputError:
    return BadInputError(
        "The labels cannot be read.",
        expected=".npy integers [n], .json, or text with a line 'label' or 'picture,label' a sample", got=got,
        where=path,
    )  # fmt: skip
