"""What artefacts are proven equal to: whatever a user calls the model, asked one sample at a time.

A checkpoint is its own description, so its reference is our Keras model with its weights. An object that lives in the
user's program may do more than its weights say: its own ``call``, a layer around it, a hook. So it answers for itself,
and `require_same_function` refuses it where the weights that were read from it do not compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from perceiver_edge.errors import BadInputError, PerceiverEdgeError, counted, first_line
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE, relative_l2

if TYPE_CHECKING:
    from perceiver_edge.checkpoints import Checkpoint

HALF_TOLERANCE = 0.05
"""Relative L2 within which a model that computes in bfloat16 (8 bits of mantissa, 2⁻⁹ = 0.002 a rounding, some dozens
of layers) equals the same model in float32. What a user adds to a model on purpose changes more."""

COMPARED_SAMPLES = 8
"""On which an object and its weights are compared; the proof then asks the object about every held-out sample."""

Feeds = Mapping[str, np.ndarray]
"""One sample by input name (``input``, and ``mask`` where there is one), ``[1, ...]``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Something that answers samples.

    Attributes:
        answer: from `Feeds` to the float output of that sample, ``[1, ...]``; it may raise anything.
        description: what answers, in words, for messages.
        cache_key: tells it from every other reference of the same weights; None for what nobody can tell apart, such
            as a live object: its answers are never taken from an earlier run.
        tolerance: relative L2 within which it equals the same function in float32. Above `FLOAT_TOLERANCE` it computes
            in half precision, and the proof asks the float32 model of its weights instead.
    """

    answer: Callable[[Feeds], np.ndarray]
    description: str
    cache_key: str | None = None
    tolerance: float = FLOAT_TOLERANCE

    @property
    def is_exact(self) -> bool:
        return self.tolerance <= FLOAT_TOLERANCE

    def __call__(self, feeds: Feeds, *, where: str) -> np.ndarray:
        """The output of one sample, without the batch dimension, float32.

        Raises:
            BadInputError: it fails, answers something else than one array of numbers, or a number is not finite.
        """
        try:
            output = np.asarray(np.asarray(self.answer(feeds)), dtype=np.float32)
        except PerceiverEdgeError:
            raise
        except Exception as error:  # the user's code, or its answer is no array of numbers
            raise BadInputError(
                f"{self.description} cannot be run.", expected="one array of numbers for every sample",
                got=f"{type(error).__name__}: {first_line(error)}", where=where,
            ) from error  # fmt: skip
        if output.ndim < 2 or len(output) != 1:
            raise BadInputError(
                f"{self.description} answers something else than a Perceiver does.",
                expected="[1, classes], or latents [1, latents, channels]", got=list(output.shape), where=where,
            )  # fmt: skip
        single = output[0]
        if not np.isfinite(single).all():
            raise BadInputError(
                "The float reference's output is not finite.", expected="finite numbers", where=where,
                fix="look for extreme weights or inputs; a model that overflows in float32 cannot be proven",
            )  # fmt: skip
        return single


def keras_reference(checkpoint: Checkpoint) -> Reference:
    """The float32 Keras model of a checkpoint's weights; it is built when it is first asked."""
    model: Any = None

    def answer(feeds: Feeds) -> np.ndarray:
        nonlocal model
        if model is None:
            import tensorflow as tf

            from perceiver_edge.model import Perceiver

            model = tf.function(Perceiver.from_checkpoint(checkpoint), autograph=False)
        return np.asarray(model(feeds["input"], mask=feeds.get("mask")))

    return Reference(answer=answer, description="The float32 reference", cache_key="keras")


def require_same_function(
    given: Reference, weights: Reference, samples: Iterable[Mapping[str, np.ndarray]], *, where: str
) -> tuple[float, int]:
    """Compare an object with the model of the weights that were read from it.

    Args:
        samples: without batch dimension; the first `COMPARED_SAMPLES` are used.

    Returns:
        the relative difference, and the number of samples that it was measured on.

    Raises:
        BadInputError: the two do not compute the same, or one of them cannot be run.
    """
    answers = []
    for index, sample in enumerate(islice(samples, COMPARED_SAMPLES)):
        feeds = {name: values[np.newaxis] for name, values in sample.items()}
        answers.append([side(feeds, where=f"{where}, sample {index}") for side in (given, weights)])
    theirs, ours = (np.stack(side).astype(np.float64) for side in zip(*answers, strict=True))
    if theirs.shape != ours.shape:
        difference = f"outputs {list(theirs.shape[1:])} instead of {list(ours.shape[1:])}"
    elif (error := relative_l2(ours, theirs)) <= given.tolerance:
        return error, len(ours)
    else:
        difference = f"a relative difference of {error:.2g} over {counted(len(ours), 'sample')}"
    raise BadInputError(
        f"{given.description} computes something else than a Perceiver with its weights does.",
        expected=f"the same function, within {given.tolerance:g}", got=difference, where=where,
        fix="only a Perceiver is compiled. Pass the Perceiver itself, give samples as it gets them, already scaled, "
        "and do in your own code what comes after it, such as a softmax",
    )  # fmt: skip
