"""What every engine offers: a `Runner` knows its inputs and outputs by name and checks what it is fed."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, PerceiverEdgeError
from perceiver_edge.files.preprocessing import Preprocessing
from perceiver_edge.runtime.batches import batch
from perceiver_edge.runtime.classes import Guess, likeliest
from perceiver_edge.runtime.execution import Execution
from perceiver_edge.runtime.guard import InputGuard, engine_errors

VARYING = -1
"""Stands in `TensorSpec.shape` for a size that the model leaves open."""


@dataclass(frozen=True)
class TensorSpec:
    """Shape and dtype of one named input or output; a size of -1 is open."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.dtype.name} {list(self.shape)}"

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(want in (VARYING, got) for want, got in zip(self.shape, shape))


class Runner(ABC):
    """One loaded model, ready to run.

    Attributes:
        engine: ``"litert"``, ``"tflite_runtime"`` or ``"onnxruntime"``.
        inputs, outputs: name to `TensorSpec`, in the model's order.
        execution: how it runs: threads, where they are, what they do between calls; None for one on a GPU,
            or in a process of its own.
        class_names: of the logits, in their order; None where they are not known. `load` takes them from the bundle
            that the model lies in; whoever knows better sets them.
        answers_values: whether the bundle says that the outputs are values, not scores of classes.
        preprocessing: makes inputs of pictures or texts, as calibration did; `load` takes it from the same bundle.
        guard: sees every input before the engine does; None lets all through.
    """

    engine: str
    class_names: tuple[str, ...] | None = None
    answers_values: bool = False
    preprocessing: Preprocessing | None = None
    guard: InputGuard | None = None

    def __init__(
        self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], execution: Execution | None = None
    ) -> None:
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        self.execution = execution
        self._process = os.getpid()

    @property
    def batch_size(self) -> int:
        """How many samples one call takes: the first size of the first input.

        Raises:
            BadInputError: it has no sizes, or there is no input.
        """
        shape = next((spec.shape for spec in self.inputs.values()), ())
        if not shape:
            raise BadInputError(
                "The model takes no samples side by side.", expected="an input whose first axis is the batch",
                got=", ".join(f"{name} {spec}" for name, spec in self.inputs.items()) or "no input",
            )  # fmt: skip
        return shape[0]

    def __call__(self, feeds: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """Run the model once.

        Args:
            feeds: one array for a model of one input, else name to array. Each has the dtype of `inputs` and its
                shape, or that shape without a leading batch dimension of 1; the outputs then lose theirs too.

        Returns:
            The output of a model that has one, else name to output. The arrays belong to the caller.

        Threads may share a runner: LiteRT and tflite-runtime take one call at a time, ONNX Runtime takes them at once.

        Raises:
            BadInputError: a name, shape or dtype is not the model's, a number is not finite (see `load`), or the engine
                cannot run the model.
        """
        arrays, batched = self._checked(feeds)
        results = self._answer(arrays)
        if not batched:
            results = {name: array[0, ...] if array.shape[:1] == (1,) else array for name, array in results.items()}
        return next(iter(results.values())) if len(results) == 1 else results

    def _require_its_process(self) -> None:
        """A fork has none of its parent's threads: an engine would wait for its workers forever. A GPU's state is not
        the fork's either, and the pipe to a process of the model's own would mix the answers of both."""
        if os.getpid() != self._process and (self.execution is None or self.execution.threads > 1):
            raise PerceiverEdgeError(
                "The model was loaded before this process was forked, and what runs it is the other one's.",
                expected="a model loaded in the process that runs it", got="a runner of the parent process",
                fix="load it after the fork" if self.execution is None else "load it after the fork, or with threads=1",
            )  # fmt: skip

    def __repr__(self) -> str:
        sides = (", ".join(f"{name} {spec}" for name, spec in side.items()) for side in (self.inputs, self.outputs))
        how = "" if self.execution is None else f"; {self.execution}"
        return f"<{self.engine}: {' → '.join(sides)}{how}>"

    def preprocess(self, given: Any) -> np.ndarray | dict[str, np.ndarray]:
        """A picture or a text as this model takes it: what a call is fed, without a batch dimension.

        Args:
            given: a picture (a file, an image of Pillow's, or uint8 ``[height, width]`` or ``[height, width,
                channels]``), or a text (str, or bytes of UTF-8); which of both, the model knows.

        Raises:
            BadInputError: the model lies in no bundle that says how, or the picture or text cannot be used.
            MissingExtraError: Pillow is not installed.
        """
        if self.preprocessing is None:
            raise BadInputError(
                "Nobody has said how inputs are made for this model.", expected="a model in the folder of its bundle, "
                "whose pixels or symbols were declared when it was compiled", got=repr(self),
                fix="make the arrays yourself, and call the model with them",
            )  # fmt: skip
        return self.preprocessing(given)

    def batch(self, samples: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
        """Run the model on many samples, as many at a time as one call takes.

        Args:
            samples: ``[n, ...]`` for a model of one input, else name to such arrays; at least one sample.

        Returns:
            The output ``[n, ...]`` of a model that has one, else name to such outputs.

        Raises:
            BadInputError: as a call does; or there is no sample, or not one number of them; or an output has not one
                row for each.
        """
        inputs = samples if isinstance(samples, Mapping) else {next(iter(self.inputs), "input"): samples}
        arrays = {name: _array(name, values) for name, values in inputs.items()}
        counts = {len(values) if values.ndim else 0 for values in arrays.values()}
        if len(counts) != 1 or 0 in counts:
            raise BadInputError(
                "These are not samples side by side.",
                expected="one number of samples in all inputs, at least 1",
                got=", ".join(f"{name} {list(values.shape)}" for name, values in arrays.items()),
            )
        count, size = counts.pop(), max(self.batch_size, 1)
        results = [self._answer(self._checked(batch(arrays, start, size))[0]) for start in range(0, count, size)]
        _require_rows(results, size)
        joined = {name: np.concatenate([result[name] for result in results])[:count] for name in self.outputs}
        return next(iter(joined.values())) if len(joined) == 1 else joined

    def top(self, feeds: np.ndarray | Mapping[str, np.ndarray], k: int = 5) -> list[Guess]:
        """The ``k`` likeliest classes of one sample, likeliest first: name, probability (softmax of the logits), index.

        Args:
            feeds: as for a call.

        Raises:
            BadInputError: as a call does; or the output is not one sample's logits.
        """
        if self.answers_values:
            raise BadInputError(
                "Only a classifier has likeliest classes.", expected="scores of classes, one of which is right",
                got="values, each for itself", fix="call the runner itself; of several labels at once, the probability "
                "of each is 1 / (1 + exp(-logit)); or compile with --task classification, if they are such scores",
            )  # fmt: skip
        output = self(feeds)
        if isinstance(output, Mapping):
            raise BadInputError(
                "Only a classifier has likeliest classes.", expected="one output", got=", ".join(output)
            )
        return likeliest(output[0] if output.shape[:1] == (1,) else output, k, self.class_names)

    def _answer(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._require_its_process()
        if self.guard is not None:
            self.guard(arrays)
        with engine_errors("The engine cannot run the model."):
            return self._run(arrays)

    @abstractmethod
    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Checked feeds, batch dimension included, to outputs that alias nothing of the engine's."""

    def _checked(self, feeds: np.ndarray | Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], bool]:
        """The feeds with their batch dimension, and whether they came with it."""
        if not isinstance(feeds, Mapping):
            feeds = {next(iter(self.inputs), "input"): feeds}
        if set(feeds) != set(self.inputs):
            raise BadInputError(
                "The inputs are not those of the model.",
                expected=", ".join(f"{name} ({spec})" for name, spec in self.inputs.items()),
                got=", ".join(map(str, feeds)) or "nothing",
            )
        arrays = {name: _array(name, feeds[name]) for name in self.inputs}
        for name, spec in self.inputs.items():
            self._check_dtype(name, spec, arrays[name])
        if all(spec.fits(arrays[name].shape) for name, spec in self.inputs.items()):
            return arrays, True
        single = {name: array[np.newaxis] for name, array in arrays.items()}
        if all(spec.fits(single[name].shape) for name, spec in self.inputs.items()):
            return single, False
        raise BadInputError(
            "The input does not have the model's shape.",
            expected=", ".join(f"{name} {list(spec.shape)}" for name, spec in self.inputs.items())
            + ", all with or all without a batch dimension of 1",
            got=", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()),
        )

    @staticmethod
    def _check_dtype(name: str, spec: TensorSpec, array: np.ndarray) -> None:
        if array.dtype != spec.dtype:
            raise BadInputError(
                f"Input {name!r} does not have the model's dtype.",
                expected=spec.dtype.name,
                got=array.dtype,
                fix=f"cast it where you know the loss is harmless: array.astype('{spec.dtype.name}')",
            )


def _array(name: str, values: Any) -> np.ndarray:
    """In C's order, as engines read it."""
    try:
        return np.asarray(values, order="C")
    except (TypeError, ValueError) as error:  # of NumPy: rows of several lengths; of PyTorch: it is on a GPU
        raise BadInputError(f"Input {name!r} is no array.", expected="what NumPy makes one of", got=error) from error


def _require_rows(results: list[dict[str, np.ndarray]], size: int) -> None:
    for result in results:
        for name, array in result.items():
            if array.shape[:1] != (size,):
                raise BadInputError(
                    f"Output {name!r} is not of samples side by side.", expected=f"{size} in its first axis",
                    got=list(array.shape), fix="call the model with one sample at a time",
                )  # fmt: skip
