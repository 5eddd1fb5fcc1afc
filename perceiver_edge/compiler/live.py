"""Models that live in the user's program: their weights are read, and they answer for themselves in the proof."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.checkpoints import Checkpoint, fit_weights
from perceiver_edge.checkpoints.infer import complete_config
from perceiver_edge.compiler.torch_models import is_torch_module, read_torch_module
from perceiver_edge.compiler.transformers_models import require_no_choice
from perceiver_edge.config import InputSpec, PerceiverConfig, check_config_keys, parse_config
from perceiver_edge.errors import BadInputError, PerceiverEdgeError, option
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE
from perceiver_edge.proof.reference import HALF_TOLERANCE, Feeds, Reference

_HALF_PRECISIONS = {"float16", "bfloat16"}


def read_live(model: Any, chosen: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Checkpoint, Reference]:
    """The weights of a model that is, or has in it, one Perceiver; and the whole model as the reference.

    Args:
        model: of Keras, with a `perceiver_edge.Perceiver` in it, or of PyTorch, with one of perceiver-pytorch.
        chosen: which outputs are computed, of a model that has several.
        config: what a PerceiverIO of perceiver-pytorch does not tell.

    Whether the two compute the same is for `proof.reference.require_same_function` to see, with samples.

    Raises:
        BadInputError: no such model, or its weights cannot be read.
    """
    if is_torch_module(model):
        return read_torch_module(model, chosen, config)
    require_no_choice(chosen)
    perceivers = list({id(found): found for found in _perceivers(model)}.values())
    if len(perceivers) != 1:
        raise BadInputError(
            "This is not a model." if not perceivers else "There are several Perceivers in this model.",
            expected="a name, a folder, a file, a Checkpoint, or a Keras or PyTorch model with one Perceiver in it",
            got=type(model).__name__,
        )  # fmt: skip
    if config:
        raise BadInputError(
            f"A model tells what it was made with, so {option('config')} is not taken.",
            expected="a folder or a file of weights", got=type(model).__name__,
        )  # fmt: skip
    (perceiver,) = perceivers
    try:
        shape = perceiver.deployed_shape  # of a model that was called; --input-shape has the last word
        checkpoint = Checkpoint(
            config=perceiver.config,
            input_spec=InputSpec(shape=shape) if shape and None not in shape else None,
            weights=fit_weights(perceiver.config, perceiver.named_weights()),
        )
    except PerceiverEdgeError:
        raise
    except Exception as error:  # layers that were put in the place of the Perceiver's own
        raise BadInputError(
            "The weights cannot be read from the model.", expected="the layers that a Perceiver is made with",
            got=repr(error), where=type(model).__name__,
        ) from error  # fmt: skip

    def answer(feeds: Feeds) -> np.ndarray:
        mask = {"mask": feeds["mask"]} if "mask" in feeds else {}
        return np.asarray(model(_as_given(feeds["input"], model), **mask))

    is_half = perceiver.compute_dtype in _HALF_PRECISIONS
    return checkpoint, Reference(
        answer=answer, description=f"The model that was passed ({type(model).__name__})",
        tolerance=HALF_TOLERANCE if is_half else FLOAT_TOLERANCE,
    )  # fmt: skip


def read_saved_model(
    folder: Path, config: Mapping[str, Any], input_shape: tuple[int, ...] | None
) -> tuple[Checkpoint, Reference]:
    """The weights in a SavedModel of a `perceiver_edge.Perceiver`, and its signature as the reference.

    Args:
        config: what the weights' shapes do not tell, as `load_checkpoint` takes it.

    Raises:
        BadInputError: no such model, or not enough of its configuration.
    """
    from perceiver_edge.model.saved import load_saved_model

    saved = load_saved_model(folder)
    shape = input_shape or saved.input_shape
    check_config_keys(config, where="config")
    values = complete_config(
        config, saved.weights, bands="linear", is_call=False, input_shape=shape, where=folder
    )  # fmt: skip
    parsed, spec = parse_config(values, where=folder)
    assert isinstance(parsed, PerceiverConfig), "the values are of this family"
    checkpoint = Checkpoint(
        config=parsed, input_spec=spec or (InputSpec(shape=shape) if shape else None),
        weights=fit_weights(parsed, saved.weights, where=folder),
    )  # fmt: skip
    return checkpoint, Reference(answer=saved.answer, description=f"The SavedModel {folder.name}")


def _as_given(sample: np.ndarray, model: Any) -> np.ndarray:
    """A Perceiver's input as the model around it takes it, which may reshape it first: Keras tells the shape."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or None in shape[1:] or len(shape) == sample.ndim:
        return sample
    return sample.reshape(len(sample), *shape[1:]) if math.prod(shape[1:]) == sample[0].size else sample


def _perceivers(model: Any) -> Iterator[Any]:
    """Found by what they have, because their class would bring TensorFlow."""
    if hasattr(model, "named_weights") and hasattr(model, "load_named_weights"):
        yield model
        return
    for layer in getattr(model, "layers", ()) or ():
        yield from _perceivers(layer)
