"""A ``config.json`` → the configuration of its family, and what the model is fed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from perceiver_edge.config.huggingface import HuggingFaceConfig, is_huggingface, parse_huggingface_config
from perceiver_edge.config.input_spec import SPEC_KEYS, InputSpec
from perceiver_edge.config.krasserm import KrassermConfig, is_krasserm, parse_krasserm_config
from perceiver_edge.config.perceiver import PerceiverConfig
from perceiver_edge.config.perceiver_io import PerceiverIOConfig, is_perceiver_io, parse_perceiver_io_config
from perceiver_edge.errors import BadInputError, found_in

ModelConfig = PerceiverConfig | HuggingFaceConfig | PerceiverIOConfig | KrassermConfig
"""All that a model's configuration can be; what they have in common is what every stage but the readers asks for."""

CLASS_NAMES = "class_names"
MADE_BY = "made_by"
"""The library that a model was trained with: perceiver_edge, where `Perceiver.save_pretrained` wrote the file."""

CONFIG_KEYS = {*(field.name for field in dataclasses.fields(PerceiverConfig)), *SPEC_KEYS, CLASS_NAMES, MADE_BY}
"""What a ``config.json`` may hold."""

_ONLY_OFF = ("queries_contribute_kv", "self_attn_rel_pos")
"""Arguments of perceiver-pytorch, 0.3 to 0.11, that change nothing where they are off."""


def parse_config(values: Mapping[str, Any], *, where: object = None) -> tuple[ModelConfig, InputSpec | None]:
    """Read the flat mapping of a ``config.json``: constructor arguments, and optionally the keys of `InputSpec`.

    Configurations of transformers are known by their ``model_type``. ``class_names`` may stand beside them
    (`parse_class_names`), and arguments of perceiver-pytorch's that are off.

    Raises:
        BadInputError: unknown or missing keys, or values out of range.
    """
    if is_huggingface(values):
        return _with_spec(parse_huggingface_config(values, where=where), values, where)
    if is_krasserm(values):
        return _with_spec(parse_krasserm_config(values, where=where), values, where)
    if is_perceiver_io(values):
        return _with_spec(parse_perceiver_io_config(values, where=where), values, where)
    check_config_keys(values, where=where)
    fields = {field.name: field for field in dataclasses.fields(PerceiverConfig)}
    arguments = {key: values[key] for key in fields if key in values}
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [name for name in required if name not in arguments]:
        raise BadInputError(
            "The configuration lacks keys.", expected=", ".join(required), got=f"no {', '.join(missing)}", where=where
        )
    with found_in(where):
        config = PerceiverConfig(**arguments)
    return _with_spec(config, values, where)


def check_config_keys(values: Mapping[str, Any], *, where: object = None) -> None:
    """Raises BadInputError for keys that no Perceiver has, and for those of perceiver-pytorch that are on."""
    if unknown := sorted(set(values) - CONFIG_KEYS - set(_ONLY_OFF)):
        raise BadInputError(
            "The configuration has keys that a Perceiver does not have.",
            expected=", ".join(field.name for field in dataclasses.fields(PerceiverConfig)),
            got=", ".join(unknown),
            where=where,
        )
    for key in _ONLY_OFF:
        if values.get(key):
            raise BadInputError(
                f"The Perceiver was trained with {key}, which perceiver_edge does not compute.",
                expected=f"{key}: false, or no such key", got=f"{key}: {values[key]!r}", where=where,
            )  # fmt: skip


def _with_spec(config: ModelConfig, values: Mapping[str, Any], where: object) -> tuple[ModelConfig, InputSpec | None]:
    spec_keys = {key: values[key] for key in SPEC_KEYS if key in values}
    if not spec_keys:
        return config, None
    resize = spec_keys.pop("resize", None)
    said = {SPEC_KEYS[key]: _one_or_more(key, value, where=where) for key, value in spec_keys.items()}
    with found_in(where):
        spec = InputSpec(**said, resize=resize)
    require_fit(spec, config, where=where)
    if "input_shape" in spec_keys and len(spec.shape) != config.input_axis:
        raise BadInputError(
            "input_shape does not fit input_axis.",
            expected=f"{config.input_axis} sizes",
            got=spec.shape,
            where=where,
        )
    return config, spec


def require_fit(spec: InputSpec, config: ModelConfig, *, where: object) -> None:
    """Raises BadInputError unless there is one mean and deviation for all channels, or one for each."""
    for key, values in (("image_mean", spec.mean), ("image_std", spec.std)):
        if len(values) not in (1, config.input_channels):
            raise BadInputError(
                f"{key} does not fit the model.", expected=f"1 or {config.input_channels} numbers", got=list(values),
                where=where,
            )  # fmt: skip


def parse_class_names(
    values: Mapping[str, Any], config: ModelConfig, *, where: object = None
) -> tuple[str, ...] | None:
    """What the classes of a ``config.json`` are called, in the order of the logits; None where it does not say.

    Raises:
        BadInputError: not one name a class, two of one name, or names for a model that does not classify.
    """
    names = values.get(CLASS_NAMES)
    if names is None:
        return None
    count = config.num_classes if config.is_classifier else 0
    is_list = isinstance(names, list | tuple) and all(isinstance(name, str) and name.strip() for name in names)
    if not is_list or len(names) != count:
        got = f"{len(names)} names" if is_list else repr(names)
        raise BadInputError(
            "class_names does not fit the model.", expected=f"{count} texts, one a class", got=got, where=where
        )
    if len(set(names)) != count:
        twice = next(name for name in names if list(names).count(name) > 1)
        raise BadInputError("Two classes have one name.", expected="different names", got=repr(twice), where=where)
    return tuple(names)


def _one_or_more(key: str, value: object, *, where: object) -> tuple[Any, ...]:
    """One number stands for a list of one."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, int | float):
        return (value,)
    raise BadInputError(
        f"{key!r} of the configuration is not usable.", expected="a number or a list", got=repr(value), where=where
    )
