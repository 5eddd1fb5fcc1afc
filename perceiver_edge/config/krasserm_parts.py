"""The two halves of a Perceiver of perceiver-io, `Encoder` and `Decoder`: its keys and defaults, checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from perceiver_edge.config.limits import MOST_LAYERS, MOST_SIZE
from perceiver_edge.errors import BadInputError

OF_TRAINING = {
    "dropout", "residual_dropout", "init_scale", "freeze", "params", "activation_checkpointing",
    "activation_offloading",
}  # fmt: skip
"""Keys that decide nothing in inference."""

_LAYER_COUNTS = {
    "num_cross_attention_layers", "num_self_attention_layers_per_block", "num_self_attention_blocks",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Keys of ``encoder``: those of all models, then those of texts, then those of images."""

    num_cross_attention_heads: int = 8
    num_cross_attention_qk_channels: int | None = None
    num_cross_attention_v_channels: int | None = None
    num_cross_attention_layers: int = 1
    first_cross_attention_layer_shared: bool = False
    cross_attention_widening_factor: int = 1
    num_self_attention_heads: int = 8
    num_self_attention_qk_channels: int | None = None
    num_self_attention_v_channels: int | None = None
    num_self_attention_layers_per_block: int = 8
    num_self_attention_blocks: int = 1
    first_self_attention_block_shared: bool = True
    self_attention_widening_factor: int = 1
    vocab_size: int = 10003
    max_seq_len: int = 256
    num_input_channels: int = 64
    image_shape: tuple[int, ...] = (224, 224, 3)
    num_frequency_bands: int = 32

    @property
    def has_other_cross_attention(self) -> bool:
        """Whether later cross-attends have weights of their own."""
        return self.num_cross_attention_layers > 1 and not self.first_cross_attention_layer_shared

    @property
    def has_other_block(self) -> bool:
        """Whether later blocks of self-attends have weights of their own."""
        return self.num_self_attention_blocks > 1 and not self.first_self_attention_block_shared


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Keys of ``decoder``. ``num_output_query_channels`` None: a masked language model answers by its embedding."""

    num_cross_attention_heads: int = 8
    num_cross_attention_qk_channels: int | None = None
    num_cross_attention_v_channels: int | None = None
    cross_attention_widening_factor: int = 1
    cross_attention_residual: bool = True
    num_output_query_channels: int | None = None
    num_output_queries: int = 1
    num_classes: int = 100
    vocab_size: int = 10003
    max_seq_len: int = 512


_Part = TypeVar("_Part", Encoder, Decoder)


def read_part(kind: type[_Part], given: object) -> _Part:
    """Raises BadInputError for keys that perceiver-io does not have."""
    name = kind.__name__.lower()
    if not isinstance(given, Mapping):
        raise wrong(name, "a mapping", given)
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in given.items()}
    values = {key: value for key, value in values.items() if key not in OF_TRAINING}
    known = [each.name for each in dataclasses.fields(kind)]
    if unknown := sorted(set(values) - set(known)):
        raise BadInputError(
            f"The {name} has keys that perceiver-io does not have.", expected=", ".join(known), got=", ".join(unknown)
        )
    return kind(**values)


def check_field(each: dataclasses.Field[Any], value: object) -> None:
    """Raises BadInputError for a value that is out of range or of the wrong type."""
    if isinstance(each.default, bool):
        if not isinstance(value, bool):
            raise wrong(each.name, "true or false", value)
    elif each.name == "image_shape":
        if not (isinstance(value, tuple) and len(value) == 3 and all(type(s) is int and s >= 1 for s in value)):
            raise wrong(each.name, "height, width and channels", value)
    elif each.name not in ("model", "encoder", "decoder") and not (value is None and each.default is None):
        most = MOST_LAYERS if each.name in _LAYER_COUNTS else MOST_SIZE
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise wrong(each.name, f"an integer from 1 to {most:,}", value)


def wrong(key: str, expected: str, got: object) -> BadInputError:
    return BadInputError(f"The key {key!r} of the configuration is not usable.", expected=expected, got=repr(got))
