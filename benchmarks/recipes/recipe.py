"""What all recipes share: ``python RECIPE.py WORK FILE`` makes one file, in whichever environment it runs.

A work folder holds the model (`MODEL`, or `RATE` for a graph that only measures an engine) and `CALIBRATION`.
Needs the standard library and numpy alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MODEL, CALIBRATION, RATE = "model", "calibration.npz", "rate.json"
"""The checkpoint's folder; samples ``[n, ...]`` by the name of the input; see `rate_graph`."""

CHAIN = 8
"""How often a rate graph repeats its operator, so that copying its input and output does not count."""

Recipe = Callable[[Path, Path], None]
"""(work folder, the file to write). It may write others beside that one."""


def make(recipes: Mapping[str, Recipe]) -> None:
    """Run the recipe that the command line asks for; the file appears whole or not at all."""
    work, name = Path(sys.argv[1]).absolute(), sys.argv[2]
    with tempfile.TemporaryDirectory(dir=work) as folder:
        target = Path(folder, name)
        recipes[name](work, target)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path == target):  # the one that is looked for, last
            path.replace(work / path.name)


def calibration(work: Path) -> list[dict[str, np.ndarray]]:
    """Feeds of one sample each, ``[1, ...]`` by the name of the input, in the order of the model's inputs."""
    with np.load(work / CALIBRATION) as archive:
        inputs = {name: archive[name] for name in archive.files}
    count = len(next(iter(inputs.values())))
    return [{name: values[index : index + 1] for name, values in inputs.items()} for index in range(count)]


def rate_graph(work: Path) -> dict[str, Any] | None:
    """``kind`` (gemm, exp or softmax), ``rows``, ``columns``: the graph takes ``[1, rows, columns]``. None: a model."""
    path = work / RATE
    return json.loads(path.read_text()) if path.exists() else None


def gemm_weights(columns: int) -> list[np.ndarray]:
    """Weights ``[in, out]`` of the products of a gemm graph, one after the other: wide, narrow, wide, narrow."""
    rng = np.random.default_rng(0)
    shapes = [(columns, 4 * columns), (4 * columns, columns)] * 2
    return [(rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32) for shape in shapes]
