"""Was the model read as it was meant? What its own framework computed is held against what we make of its weights.

Everything else in a proof compares an artefact with our own reference, so a checkpoint that is read wrongly would be
proven equal to itself. Some mistakes leave no trace in names and shapes: heads, frequencies, an option of another
version of a library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.calibration.tensors import as_numpy
from perceiver_edge.errors import BadInputError, GateError, counted, option
from perceiver_edge.files.arrays import open_npz
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE, relative_l2
from perceiver_edge.proof.reference import COMPARED_SAMPLES, Reference

_INPUT, _MASK, _OUTPUT = "input", "mask", "output"


@dataclass(frozen=True, kw_only=True)
class Source:
    """How the import was checked.

    Attributes:
        compared_with: what computed the answers, in words; None where there was nothing to compare with.
        relative_l2: between its answers and ours; at most `FLOAT_TOLERANCE` where it computes in float32.
        num_samples: compared.
    """

    compared_with: str | None = None
    relative_l2: float | None = None
    num_samples: int = 0

    def __str__(self) -> str:
        if self.compared_with is None or self.relative_l2 is None:
            return "not compared with its source"
        samples = counted(self.num_samples, "sample")
        return f"compared with its source on {samples}: {self.compared_with}, relative error {self.relative_l2:.1g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """``inputs`` by name: ``[n, *axes, channels]`` float32 (or ``[n, tokens]`` int32), and perhaps ``mask``, bool
    ``[n, *axes]``; and what the model's own framework computed for them: ``outputs`` ``[n, classes]``, or of other
    forms."""

    inputs: dict[str, np.ndarray]
    outputs: np.ndarray
    description: str


def read_answers(
    given: str | os.PathLike[str] | Mapping[str, object],
    *,
    sample_shape: tuple[int, ...],
    vocabulary: int | None = None,
    beside: Mapping[str, tuple[int, ...]] | None = None,
) -> Answers:
    """Answers from an ``.npz`` file with ``input``, ``output`` and perhaps ``mask``, or from arrays by these names.

    Args:
        sample_shape: of what the deployed model is fed, ``[*axes, channels]``, or ``[tokens]`` for a ``vocabulary`` of
            integers. ``beside``: of the other inputs, by name.

    Raises:
        BadInputError: no such file, other names, or arrays that do not fit.
    """
    where = "the arrays" if isinstance(given, Mapping) else os.fspath(given)
    arrays = _arrays(given)
    shapes = {_INPUT: sample_shape, **(beside or {})}
    if not {_OUTPUT, *shapes} <= set(arrays) <= {_OUTPUT, _MASK, *shapes}:
        raise BadInputError(
            f"{option('reference')} is not usable.",
            expected=f"the arrays {', '.join((*shapes, _OUTPUT))}, and mask if there is one",
            got=", ".join(arrays) or "none", where=where,
            fix='np.savez("reference.npz", input=x, output=model(x)), with x as the model gets it, channels last',
        )  # fmt: skip
    inputs, outputs, masks = arrays[_INPUT], arrays[_OUTPUT], arrays.get(_MASK)
    count = len(inputs) if inputs.ndim else 0
    are_inputs = all(arrays[name].shape == (count, *shape) for name, shape in shapes.items())
    if not are_inputs or outputs.shape[:1] != (count,) or outputs.ndim < 2 or not count:
        expected = [f"{name} [n, {', '.join(map(str, shape))}]" for name, shape in shapes.items()]
        raise BadInputError(
            f"{option('reference')} does not fit the model.", expected=f"{', '.join(expected)} and output [n, classes]",
            got=", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()), where=where,
        )  # fmt: skip
    masked = inputs.shape if vocabulary else inputs.shape[:-1]
    if masks is not None and (masks.dtype != np.bool_ or masks.shape != masked):
        raise BadInputError(
            f"The mask of {option('reference')} does not fit.", expected=f"bool {list(masked)}",
            got=f"{masks.dtype} {list(masks.shape)}", where=where,
        )  # fmt: skip
    _require_numbers(_OUTPUT, outputs, np.floating, where)
    read = {}
    for name in shapes:
        are_symbols = name == _INPUT and vocabulary
        _require_numbers(name, arrays[name], np.integer if are_symbols else np.floating, where)
        read[name] = arrays[name].astype(np.int32 if are_symbols else np.float32)
    return Answers(
        inputs=read if masks is None else {**read, _MASK: masks}, outputs=outputs,
        description="the answers in " + ("arrays" if isinstance(given, Mapping) else Path(given).name),
    )  # fmt: skip


def _require_numbers(name: str, array: np.ndarray, kind: type[np.number[Any]], where: str) -> None:
    is_kind = np.issubdtype(array.dtype, kind)
    count = np.count_nonzero(~np.isfinite(array)) if is_kind else 0
    if count or not is_kind:
        raise BadInputError(
            f"The {name} of {option('reference')} is not usable.",
            expected="integers" if kind is np.integer else "finite floating point",
            got=f"NaN or infinity, {count:,} of {array.size:,} numbers" if count else array.dtype,
            where=where,
        )  # fmt: skip


def compare_with_answers(answers: Answers, weights: Reference) -> Source:
    """Hold our reading of the weights to stored answers, all of them.

    Raises:
        GateError: the answers differ by more than `FLOAT_TOLERANCE`.
        BadInputError: our model cannot be run on these inputs.
    """
    ours = []
    for index in range(len(answers.outputs)):
        feeds = {name: values[index : index + 1] for name, values in answers.inputs.items()}
        ours.append(weights(feeds, where=f"{answers.description}, sample {index}"))
    return _judged(np.stack(ours), answers.outputs, answers.description)


def compare_with_package(package: Reference, weights: Reference, samples: list[Mapping[str, np.ndarray]]) -> Source:
    """Hold our reading of the weights to the library that they come from, on the first `COMPARED_SAMPLES`.

    Raises:
        GateError, BadInputError: as `compare_with_answers`.
    """
    pairs = []
    for index, sample in enumerate(samples[:COMPARED_SAMPLES]):
        feeds = {name: values[np.newaxis] for name, values in sample.items()}
        pairs.append([side(feeds, where=f"sample {index}") for side in (weights, package)])
    ours, theirs = (np.stack(side) for side in zip(*pairs, strict=True))
    return _judged(ours, theirs, package.description)


def _judged(ours: np.ndarray, theirs: np.ndarray, description: str) -> Source:
    if ours.shape != theirs.shape:
        raise GateError(
            "The model's own framework answers something else than the weights do here.",
            expected=f"outputs {list(ours.shape)}", got=list(theirs.shape), where=description,
            fix="compare the logits, before any softmax; num_classes and final_classifier_head decide the shape",
        )  # fmt: skip
    error = relative_l2(theirs.astype(np.float64), ours.astype(np.float64))
    if not error <= FLOAT_TOLERANCE:
        rows = [relative_l2(t[np.newaxis].astype(np.float64), o[np.newaxis]) for t, o in zip(theirs, ours, strict=True)]
        raise GateError(
            "The weights compute something else here than in the model's own framework: nothing was converted.",
            expected=f"a relative difference of at most {FLOAT_TOLERANCE:g}",
            got=f"{error:.2g}; of single samples {min(rows):.2g} to {max(rows):.2g}", where=description,
            fix="look for what shapes do not tell: cross_heads, latent_heads, max_freq, freq_base, options such as "
            "inverted_cross_attn; for dropout that was on (model.eval()); and for inputs that were scaled otherwise",
        )  # fmt: skip
    return Source(compared_with=description, relative_l2=error, num_samples=len(ours))


def _arrays(given: str | os.PathLike[str] | Mapping[str, object]) -> dict[str, np.ndarray]:
    if isinstance(given, Mapping):
        return {name: _array(name, values) for name, values in given.items()}
    return open_npz(Path(given))


def _array(name: str, values: object) -> np.ndarray:
    try:
        return np.asarray(as_numpy(values))
    except Exception as error:  # a ragged list, or a tensor that refuses
        raise BadInputError(f"The {name} of {option('reference')} is not an array.", got=error) from error
