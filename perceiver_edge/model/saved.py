"""Models that Keras saved: ``.keras`` files, and the weights in SavedModels, which do not tell the configuration."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from perceiver_edge.errors import BadInputError, first_line
from perceiver_edge.model.named_variables import flip_linear, saved_name
from perceiver_edge.model.perceiver import Perceiver


def load_saved(path: str | os.PathLike[str]) -> keras.Model:
    """The model in a ``.keras`` file. No code of the file is run: Keras' safe mode refuses layers that hold any.

    Raises:
        BadInputError: damaged, or with parts that Keras does not know or does not trust.
    """
    try:
        model = keras.saving.load_model(path, compile=False)
        if isinstance(model, Perceiver):  # Keras gives this shape back only to what is built later than here
            with zipfile.ZipFile(path) as archive:
                shape = json.loads(archive.read("config.json")).get("build_config", {}).get("input_shape")
            model.build(None if shape is None else tuple(shape))
        return model
    except Exception as error:  # Keras raises a dozen types for what a file may hold
        raise BadInputError(
            "The model of Keras cannot be loaded.", expected="a whole .keras file of layers that Keras knows",
            got=_said(error), where=path,
            fix="in the program that made it, pass the Perceiver itself to perceiver_edge.compile, or call its "
            "save_pretrained(folder)",
        ) from error  # fmt: skip


class SavedWeights(NamedTuple):
    """``weights`` by canonical name; ``answer``: from inputs ``[1, *axes, channels]`` to the saved model's output.

    ``input_shape``: sizes of the input axes that it was saved with, where it was.
    """

    weights: dict[str, np.ndarray]
    answer: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    input_shape: tuple[int, ...] | None


def load_saved_model(folder: str | os.PathLike[str]) -> SavedWeights:
    """The weights of a Perceiver that ``model.export`` or ``tf.saved_model.save`` wrote.

    Raises:
        BadInputError: damaged, of another model, or without a signature to be called by.
    """
    try:
        loaded = tf.saved_model.load(os.fspath(folder))
        found = {v.name.partition(":")[0]: v.numpy() for v in getattr(loaded, "variables", ()) or ()}
        found = found or _variables_of_attributes(Path(folder))
        signature = loaded.signatures["serving_default"]
        (name, spec), *others = signature.structured_input_signature[1].items()
    except Exception as error:  # TensorFlow raises a dozen types for what a folder may hold
        raise BadInputError(
            "The SavedModel cannot be loaded.", expected="what model.export(folder) wrote",
            got=_said(error),
            where=folder, fix="save the model as model.keras, or call its save_pretrained(folder)",
        ) from error  # fmt: skip
    weights = {
        canonical: flip_linear(canonical, value) for path, value in found.items() if (canonical := saved_name(path))
    }
    if others or "latents" not in weights or spec.shape.rank is None:
        raise BadInputError(
            "There is no Perceiver of perceiver_edge in the SavedModel, or it takes more than one input.",
            expected="what model.export(folder) wrote", got=", ".join(list(found)[:4]) or "no variables", where=folder,
            fix="save the Perceiver itself as model.keras, or call its save_pretrained(folder)",
        )  # fmt: skip

    def answer(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        (output,) = signature(**{name: tf.constant(feeds["input"], spec.dtype)}).values()
        return output.numpy()

    sizes = tuple(spec.shape[1:-1])
    return SavedWeights(weights, answer, sizes if sizes and None not in sizes else None)


def _variables_of_attributes(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(os.fspath(folder / "variables" / "variables"))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = (name for name in reader.get_variable_to_shape_map() if name.endswith(suffix))
    return {name.removesuffix(suffix): reader.get_tensor(name) for name in names}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)[:200]}"
