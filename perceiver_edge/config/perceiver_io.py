"""What a Perceiver IO of perceiver-pytorch is: the constructor arguments of its ``PerceiverIO`` and ``PerceiverLM``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceiver_edge.config.limits import MOST_LAYERS, MOST_SIZE
from perceiver_edge.errors import BadInputError, found_in

MODEL_KEY = "model"
PERCEIVER_IO, PERCEIVER_LM = "PerceiverIO", "PerceiverLM"

QUERIES = "queries"
"""The name of what the decoder asks with, among the weights or the inputs."""

_BOOLS = {"weight_tie_layers", "decoder_ff", "inverted_cross_attn", "attn_residual", "queries_are_input"}
_IGNORED = ("seq_dropout_prob",)
"""Of training."""


@dataclass(frozen=True, kw_only=True)
class PerceiverIOConfig:
    """Arguments and defaults of perceiver-pytorch 0.11.

    ``num_queries``: rows that the decoder asks with; 0: there is no decoder, and the latents are the output. They are
    no weights of perceiver-pytorch's: they are stored with the weights as ``queries``, or, with ``queries_are_input``,
    are a second input of this name. A language model asks with its own tokens.

    Raises:
        BadInputError: a value is out of range or of the wrong type.
    """

    model: str = PERCEIVER_IO
    depth: int
    dim: int
    queries_dim: int | None = None
    logits_dim: int | None = None
    num_latents: int = 512
    latent_dim: int = 512
    cross_heads: int = 1
    latent_heads: int = 8
    cross_dim_head: int = 64
    latent_dim_head: int = 64
    weight_tie_layers: bool = False
    decoder_ff: bool = False
    inverted_cross_attn: bool = False
    attn_residual: bool = False
    attn_residual_rank: int = 64
    num_queries: int = 0
    queries_are_input: bool = False
    num_tokens: int | None = None
    max_seq_len: int | None = None

    def __post_init__(self) -> None:
        if self.model not in (PERCEIVER_IO, PERCEIVER_LM):
            raise _wrong(MODEL_KEY, f"{PERCEIVER_IO} or {PERCEIVER_LM}", self.model)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _BOOLS:
                if not isinstance(value, bool):
                    raise _wrong(field.name, "true or false", value)
            elif field.name != MODEL_KEY and not (value is None and field.default is None):
                least = 0 if field.name == "num_queries" else 1
                most = MOST_LAYERS if field.name == "depth" else MOST_SIZE
                if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                    raise _wrong(field.name, f"an integer from {least} to {most:,}", value)
        needed = ("num_tokens", "max_seq_len") if self.is_language_model else ("queries_dim",)
        for name in needed:
            if getattr(self, name) is None:
                raise _wrong(name, "an integer of at least 1", None)
        if self.queries_are_input and (self.is_language_model or self.num_queries == 0):
            raise _wrong("queries_are_input", f"false, or a {PERCEIVER_IO} with num_queries", True)

    @property
    def is_language_model(self) -> bool:
        return self.model == PERCEIVER_LM

    @property
    def has_decoder(self) -> bool:
        return self.is_language_model or self.num_queries > 0

    @property
    def query_channels(self) -> int:
        return self.dim if self.is_language_model else self.queries_dim or self.dim

    @property
    def outputs(self) -> int | None:
        """Channels of the decoder's last projection; None where it has none."""
        return self.num_tokens if self.is_language_model else self.logits_dim

    @property
    def is_classifier(self) -> bool:
        """Of whole inputs: what a decoder says of each query is not called a class here."""
        return False

    @property
    def num_classes(self) -> int:
        return 0

    @property
    def output_name(self) -> str:
        return "logits" if self.has_decoder else "latents"

    @property
    def vocabulary(self) -> int | None:
        return self.num_tokens if self.is_language_model else None

    @property
    def input_axis(self) -> int:
        return 1

    @property
    def input_channels(self) -> int:
        return 1 if self.is_language_model else self.dim

    def sample_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape if self.is_language_model else (*input_shape, self.dim)

    def beside(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shapes of other inputs, by name: the queries, where they are one."""
        return {QUERIES: (self.num_queries, self.query_channels)} if self.queries_are_input else {}

    def require_input_shape(self, input_shape: tuple[int, ...], *, where: object = None) -> None:
        """Raises BadInputError for texts of more tokens than there are positions."""
        if self.max_seq_len is not None and self.is_language_model and input_shape[0] > self.max_seq_len:
            raise BadInputError(
                "The input shape does not fit the model.", expected=f"at most {self.max_seq_len}: it has no more "
                "positions", got=input_shape, where=where,
            )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def is_perceiver_io(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` names one of these models."""
    return values.get(MODEL_KEY) in (PERCEIVER_IO, PERCEIVER_LM)


def parse_perceiver_io_config(values: Mapping[str, Any], *, where: object = None) -> PerceiverIOConfig:
    """Read the arguments; other keys than those of `InputSpec` are errors.

    Raises:
        BadInputError: as `PerceiverIOConfig`, and for keys that are missing.
    """
    fields = {field.name: field for field in dataclasses.fields(PerceiverIOConfig)}
    known = {*fields, *_IGNORED, "input_shape", "image_mean", "image_std", "resize"}
    if unknown := sorted(set(values) - known):
        raise BadInputError(
            "The configuration has keys that a PerceiverIO does not have.", expected=", ".join(fields),
            got=", ".join(unknown), where=where,
        )  # fmt: skip
    if missing := [name for name in ("depth", "dim") if name not in values]:
        raise BadInputError("The configuration lacks keys.", got=f"no {', '.join(missing)}", where=where)
    with found_in(where):
        return PerceiverIOConfig(**{key: value for key, value in values.items() if key in fields})


def _wrong(key: str, expected: str, got: object) -> BadInputError:
    return BadInputError(f"The key {key!r} of the configuration is not usable.", expected=expected, got=repr(got))
