"""What a Perceiver of krasserm's perceiver-io is: `KrassermConfig`, read from the ``config.json`` of its folders.

Its models carry their configuration as ``model_config``, with ``encoder`` and ``decoder`` in it; ``model_type`` says
which model it is. Names and defaults are those of perceiver-io 0.6 to 0.11.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perceiver_edge.config.krasserm_parts import OF_TRAINING, Decoder, Encoder, check_field, read_part, wrong
from perceiver_edge.errors import BadInputError, found_in

IMAGE_CLASSIFIER = "perceiver-io-image-classifier"
MASKED_LM = "perceiver-io-masked-language-model"
TEXT_CLASSIFIER = "perceiver-io-text-classifier"
MODELS = (IMAGE_CLASSIFIER, MASKED_LM, TEXT_CLASSIFIER)

_REFUSED = {
    "perceiver-io-optical-flow": "it has the weights of deepmind/optical-flow-perceiver: compile that one",
    "perceiver-ar-causal-language-model": "Perceiver AR makes text one symbol at a time, which is not compiled",
    "perceiver-ar-symbolic-audio-model": "Perceiver AR makes sound one symbol at a time, which is not compiled",
}


@dataclass(frozen=True, kw_only=True)
class KrassermConfig:
    """One of `MODELS`.

    Raises:
        BadInputError: a value is out of range or of the wrong type, widths that heads do not divide, or a tied
            embedding of another vocabulary than the decoder's.
    """

    model: str
    num_latents: int
    num_latent_channels: int
    encoder: Encoder = field(default_factory=Encoder)
    decoder: Decoder = field(default_factory=Decoder)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise BadInputError(
                "This model of perceiver-io is not supported.", expected=", ".join(MODELS), got=repr(self.model),
                fix=_REFUSED.get(self.model),
            )  # fmt: skip
        for part in (self, self.encoder, self.decoder):
            for each in dataclasses.fields(part):
                check_field(each, getattr(part, each.name))
        encoder, decoder = self.encoder, self.decoder
        if encoder.num_cross_attention_layers > encoder.num_self_attention_blocks:
            raise wrong("num_cross_attention_layers", "at most num_self_attention_blocks "
                         f"({encoder.num_self_attention_blocks})", encoder.num_cross_attention_layers)  # fmt: skip
        for owner, heads, widths in (
            ("the encoder's num_cross_attention_heads", encoder.num_cross_attention_heads, self.cross_channels),
            ("num_self_attention_heads", encoder.num_self_attention_heads, self.self_channels),
            ("the decoder's num_cross_attention_heads", decoder.num_cross_attention_heads, self.decoder_channels),
        ):
            if any(width % heads for width in widths):
                raise wrong(owner, f"a divisor of the widths {widths}", heads)
        if self.is_tied and decoder.vocab_size != encoder.vocab_size:
            raise wrong("vocab_size", f"the encoder's ({encoder.vocab_size}) in the decoder", decoder.vocab_size)

    @property
    def is_tied(self) -> bool:
        """Whether logits are products with the input's embedding."""
        return self.model == MASKED_LM and self.decoder.num_output_query_channels is None

    @property
    def position_channels(self) -> int:
        return 2 * (2 * self.encoder.num_frequency_bands + 1)

    @property
    def token_channels(self) -> int:
        if self.model == IMAGE_CLASSIFIER:
            return self.input_channels + self.position_channels
        return self.encoder.num_input_channels

    @property
    def cross_channels(self) -> tuple[int, int]:
        """Channels of queries and keys, and of values, in the encoder's cross-attends."""
        width = self.token_channels if self.model == IMAGE_CLASSIFIER else self.num_latent_channels
        key = self.encoder.num_cross_attention_qk_channels or width
        return key, self.encoder.num_cross_attention_v_channels or key

    @property
    def self_channels(self) -> tuple[int, int]:
        key = self.encoder.num_self_attention_qk_channels or self.num_latent_channels
        return key, self.encoder.num_self_attention_v_channels or key

    @property
    def decoder_channels(self) -> tuple[int, int]:
        key = self.decoder.num_cross_attention_qk_channels or self.query_channels
        return key, self.decoder.num_cross_attention_v_channels or key

    @property
    def query_channels(self) -> int:
        default = self.encoder.num_input_channels if self.model == MASKED_LM else 256
        return self.decoder.num_output_query_channels or default

    @property
    def num_queries(self) -> int:
        """That are stored; a text is answered by as many as it has symbols."""
        return {MASKED_LM: self.decoder.max_seq_len, IMAGE_CLASSIFIER: 1}.get(
            self.model, self.decoder.num_output_queries
        )

    @property
    def outputs(self) -> int:
        """Channels of an answer."""
        return self.decoder.vocab_size if self.model == MASKED_LM else self.decoder.num_classes

    @property
    def is_classifier(self) -> bool:
        """Of whole inputs."""
        return self.model != MASKED_LM and self.num_queries == 1

    @property
    def num_classes(self) -> int:
        return self.decoder.num_classes

    @property
    def output_name(self) -> str:
        return "logits"

    @property
    def vocabulary(self) -> int | None:
        """How many different integers a text is made of; None for images."""
        return None if self.model == IMAGE_CLASSIFIER else self.encoder.vocab_size

    @property
    def input_axis(self) -> int:
        return 2 if self.model == IMAGE_CLASSIFIER else 1

    @property
    def input_channels(self) -> int:
        """Of one pixel; a text has none, and one stands for it."""
        return self.encoder.image_shape[-1] if self.model == IMAGE_CLASSIFIER else 1

    @property
    def default_input_shape(self) -> tuple[int, ...]:
        if self.model == IMAGE_CLASSIFIER:
            return self.encoder.image_shape[:-1]
        return (self._most_symbols,)

    @property
    def _most_symbols(self) -> int:
        """A masked language model has positions to read, and queries to answer with."""
        read = self.encoder.max_seq_len
        return min(read, self.decoder.max_seq_len) if self.model == MASKED_LM else read

    def sample_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape if self.vocabulary else (*input_shape, self.input_channels)

    def beside(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """There are no other inputs."""
        return {}

    def require_input_shape(self, input_shape: tuple[int, ...], *, where: object = None) -> None:
        """Raises BadInputError for another size of pictures, and for texts of more symbols than there are positions."""
        if self.vocabulary:
            fits, allowed = input_shape[0] <= self._most_symbols, f"at most {self._most_symbols}: it has no more"
        else:
            fits, allowed = input_shape == self.default_input_shape, f"{list(self.default_input_shape)}, its one size"
        if not fits:
            raise BadInputError(
                "The input shape does not fit the model.", expected=allowed, got=input_shape, where=where
            )

    def to_dict(self) -> dict[str, Any]:
        """As in a ``config.json``; `parse_krasserm_config` reads it again."""
        values = dataclasses.asdict(self)
        values["encoder"]["image_shape"] = list(self.encoder.image_shape)
        return {"model_type": values.pop("model"), "model_config": values}


def is_krasserm(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is one of perceiver-io's, supported or not."""
    return str(values.get("model_type")).startswith(("perceiver-io-", "perceiver-ar-"))


def parse_krasserm_config(values: Mapping[str, Any], *, where: object = None) -> KrassermConfig:
    """Read ``model_type`` and ``model_config``; what transformers keeps beside them decides nothing.

    Raises:
        BadInputError: as `KrassermConfig`, and for keys that are missing, unknown, or choose among outputs.
    """
    model = str(values["model_type"])
    given = values.get("model_config")
    if model in MODELS and not isinstance(given, Mapping):
        raise BadInputError(
            "The configuration does not describe the model.",
            expected='"model_config": {"encoder": {…}, "decoder": {…}, "num_latents": …, "num_latent_channels": …}',
            got=repr(given), where=where,
        )  # fmt: skip
    if chosen := [key for key in ("outputs", "positions") if values.get(key) is not None]:
        raise BadInputError(
            "Of a model of perceiver-io no outputs are chosen.", expected="no such key", got=", ".join(chosen),
            where=where,
        )  # fmt: skip
    with found_in(where):
        own: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
        parts: dict[str, Any] = {
            "encoder": read_part(Encoder, own.pop("encoder", {})),
            "decoder": read_part(Decoder, own.pop("decoder", {})),
        }
        own = {name: value for name, value in own.items() if name not in OF_TRAINING}
        names = {"num_latents", "num_latent_channels"}
        if model in MODELS and set(own) != names:
            raise BadInputError(
                "The keys of model_config are not those of perceiver-io.",
                expected=", ".join(sorted({"encoder", "decoder", *names})), got=", ".join(sorted(own)) or "none",
            )  # fmt: skip
        sizes: dict[str, Any] = {name: own.get(name, 1) for name in names}
        return KrassermConfig(model=model, **sizes, **parts)
