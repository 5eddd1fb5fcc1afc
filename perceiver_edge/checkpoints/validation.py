"""Do these tensors fit this Perceiver? One clear error for each way in which they may not."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import DTypeLike

from perceiver_edge.checkpoints.families import refuse_foreign
from perceiver_edge.checkpoints.layout import Shapes, distinct_layers, expected_shapes
from perceiver_edge.checkpoints.names import bands_of, canonical_names, few, own_tensors
from perceiver_edge.config import PerceiverConfig
from perceiver_edge.errors import BadInputError


def fit_weights(
    config: PerceiverConfig, tensors: Mapping[str, np.ndarray], *, dtype: DTypeLike = np.float32, where: object = None
) -> dict[str, np.ndarray]:
    """Return the canonical weights of `config`, in canonical order and cast to `dtype`.

    `tensors` may use the names of perceiver-pytorch 0.5 to 0.11, and a wrapper's prefix before them. Copies of tied
    layers are accepted if they are equal.

    Raises:
        BadInputError: tensors are missing or unexpected, are of a model of another family, have the wrong shape or an
            integer dtype, hold NaN or infinity, or differ between tied layers.
    """
    refuse_foreign(tensors, where=where)
    tensors = own_tensors(tensors, where=where)
    _require_bands(config, tensors, where)
    renamed = {canonical: tensors[name] for name, canonical in canonical_names(tensors, where=where).items()}
    if config.weight_tie_layers:
        renamed = _merge_tied_layers(config, renamed, where)

    fix = "check depth, self_per_cross_attn, weight_tie_layers and final_classifier_head"
    return fit_shapes(expected_shapes(config), renamed, dtype=dtype, where=where, fix=fix)


def fit_shapes(
    shapes: Shapes, tensors: Mapping[str, np.ndarray], *, dtype: DTypeLike = np.float32, where: object, fix: str
) -> dict[str, np.ndarray]:
    """The tensors in the order of ``shapes``, cast to ``dtype``.

    Raises:
        BadInputError: tensors are missing or unexpected, have the wrong shape or an integer dtype, or hold NaN or
            infinity; ``fix`` is what helps against the first two.
    """
    if missing := [name for name in shapes if name not in tensors]:
        raise BadInputError(
            "Weights are missing for this configuration.",
            expected=f"{len(shapes)} tensors",
            got=f"no {few(missing)}",
            where=where,
            fix=fix,
        )
    if unexpected := [name for name in tensors if name not in shapes]:
        raise BadInputError(
            "There are tensors that this configuration has no place for.",
            expected=f"{len(shapes)} tensors",
            got=f"also {few(unexpected)}",
            where=where,
            fix=fix,
        )
    return {name: _fit_tensor(name, tensors[name], shape, dtype, where) for name, shape in shapes.items()}


def _fit_tensor(name: str, tensor: np.ndarray, shape: tuple[int, ...], dtype: DTypeLike, where: object) -> np.ndarray:
    if tensor.shape != shape:
        raise BadInputError(
            f"The weight {name} has the wrong shape.", expected=shape, got=tuple(tensor.shape), where=where
        )
    if not np.issubdtype(tensor.dtype, np.floating):
        raise BadInputError(
            f"The weight {name} has the wrong dtype.", expected="floating point", got=tensor.dtype, where=where
        )
    with np.errstate(over="ignore"):  # a value too large for `dtype` becomes infinite, and is reported below
        cast = np.ascontiguousarray(tensor, dtype=dtype)
    if bad := int(np.count_nonzero(~np.isfinite(cast))):
        raise BadInputError(
            f"The weight {name} holds NaN or infinity.",
            expected=f"finite {np.dtype(dtype).name} values",
            got=f"{bad} of {cast.size} values are not finite",
            where=where,
        )
    return cast


def _require_bands(config: PerceiverConfig, names: Collection[str], where: object) -> None:
    """Names that only versions with logarithmic Fourier bands wrote, and a configuration with linear ones."""
    has_bands = config.fourier_encode_data and config.num_freq_bands > 1
    if has_bands and config.freq_base is None and bands_of(names) == "logarithmic":
        raise BadInputError(
            "The weights are of perceiver-pytorch 0.5 to 0.7.0, which spaces its Fourier bands logarithmically.",
            expected="a freq_base, which is 2 unless it was chosen", got="freq_base null: linear bands", where=where,
            fix="set freq_base to 2",
        )  # fmt: skip


def _merge_tied_layers(
    config: PerceiverConfig, tensors: Mapping[str, np.ndarray], where: object
) -> dict[str, np.ndarray]:
    """Drop ``layers.2`` and later of a tied model: torch writes the one shared module out once for each use."""
    last = distinct_layers(config) - 1
    layers = {int(match[1]) for name in tensors if (match := re.match(r"layers\.(\d+)\.", name))}
    if max(layers, default=0) > last and max(layers) + 1 != config.depth:
        raise BadInputError(
            "The tied layers in the file are not as many as depth says.",
            expected=f"depth {max(layers) + 1}", got=f"depth {config.depth}", where=where, fix="correct depth",
        )  # fmt: skip
    merged = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"(layers|attn_residuals)\.(\d+)\.(.+)", name)
        if match is None or not last < int(match[2]) < config.depth:
            merged[name] = tensor
            continue
        shared = f"{match[1]}.{last}.{match[3]}"
        if shared not in tensors or not np.array_equal(tensors[shared], tensor, equal_nan=True):
            raise BadInputError(
                f"weight_tie_layers is true, but {name} is not equal to {shared}.",
                expected=f"layers {last} to {config.depth - 1} with the same weights",
                got=name,
                where=where,
                fix="set weight_tie_layers to false, if the model was trained so",
            )
    return merged
