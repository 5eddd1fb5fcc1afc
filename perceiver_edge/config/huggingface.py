"""What a Perceiver of Hugging Face's transformers is: `HuggingFaceConfig`, read from its ``config.json``.

One ``config.json`` has the keys of all tasks, used or not; ``architectures[0]`` says which task it is. Keys that older
files lack have transformers' defaults. ``layer_norm_eps`` is read by nothing: the layers have torch's 1e-5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceiver_edge.config.limits import MOST_LAYERS, MOST_SIZE
from perceiver_edge.errors import BadInputError

MODEL_TYPE = "perceiver"

FOURIER = "PerceiverForImageClassificationFourier"
LEARNED = "PerceiverForImageClassificationLearned"
CONVOLUTIONAL = "PerceiverForImageClassificationConvProcessing"
MASKED_LM = "PerceiverForMaskedLM"
SEQUENCE = "PerceiverForSequenceClassification"
FLOW = "PerceiverForOpticalFlow"
MULTIMODAL = "PerceiverForMultimodalAutoencoding"
ARCHITECTURES = (FOURIER, LEARNED, CONVOLUTIONAL, MASKED_LM, SEQUENCE, FLOW)

IMAGES = {FOURIER, LEARNED, CONVOLUTIONAL}
TEXTS = {MASKED_LM, SEQUENCE}
CLASSIFIERS = IMAGES | {SEQUENCE}

CHANNELS = 3
PATCH_CHANNELS = 27
"""Of a pixel of one frame of an optical flow's input: 3 × 3 neighbours of 3 colours."""

FRAMES = 2
ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
"""transformers' names of activations, and those of `lowering.program.Activation`."""

_IMAGE_SIZE = 224
"""Of the published vision models; those with Fourier features and convolutions run at any other."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceConfig:
    """The keys of a ``config.json`` that decide what is computed; names and defaults are those of transformers 5.

    Raises:
        BadInputError: a value is out of range, an architecture or activation that is not supported, or widths with
            which transformers builds a model that cannot run.
    """

    architecture: str
    num_labels: int = 2
    num_latents: int = 256
    d_latents: int = 1280
    d_model: int = 768
    num_blocks: int = 1
    num_self_attends_per_block: int = 26
    num_self_attention_heads: int = 8
    num_cross_attention_heads: int = 8
    qk_channels: int | None = None
    v_channels: int | None = None
    cross_attention_shape_for_attention: str = "kv"
    self_attention_widening_factor: int = 1
    cross_attention_widening_factor: int = 1
    hidden_act: str = "gelu"
    use_query_residual: bool = True
    vocab_size: int = 262
    max_position_embeddings: int = 2048
    image_size: int = 56
    train_size: tuple[int, ...] = (368, 496)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise BadInputError(
                "This architecture is not supported.", expected=", ".join(ARCHITECTURES), got=self.architecture
            )
        for field in dataclasses.fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.hidden_act not in ACTIVATIONS:
            raise _wrong("hidden_act", ", ".join(ACTIVATIONS), self.hidden_act)
        if self.cross_attention_shape_for_attention not in ("kv", "q"):
            raise _wrong("cross_attention_shape_for_attention", "kv or q", self.cross_attention_shape_for_attention)
        if self.self_value_channels != self.d_latents:
            raise _wrong("v_channels", f"d_latents ({self.d_latents}): self-attends add values to latents",
                         self.self_value_channels)  # fmt: skip
        for name, heads, widths in (
            ("num_self_attention_heads", self.num_self_attention_heads, (self.self_key_channels, self.d_latents)),
            ("num_cross_attention_heads", self.num_cross_attention_heads, self.cross_channels),
        ):
            if any(width % heads for width in widths):
                raise _wrong(name, f"a divisor of the widths {widths}", heads)

    def _check(self, name: str, value: object) -> None:
        is_int = isinstance(value, int) and not isinstance(value, bool)
        if name == "train_size":
            are_sizes = isinstance(value, tuple) and len(value) == 2
            if not are_sizes or not all(isinstance(size, int) and size >= 1 for size in value):  # type: ignore[attr-defined]
                raise _wrong(name, "two sizes of at least 1", value)
        elif name == "use_query_residual":
            if not isinstance(value, bool):
                raise _wrong(name, "true or false", value)
        elif name in ("architecture", "hidden_act", "cross_attention_shape_for_attention"):
            if not isinstance(value, str):
                raise _wrong(name, "a text", value)
        elif not (name in ("qk_channels", "v_channels") and value is None):
            most = MOST_LAYERS if name in ("num_blocks", "num_self_attends_per_block") else MOST_SIZE
            if not (is_int and 1 <= value <= most):  # type: ignore[operator]
                raise _wrong(name, f"an integer from 1 to {most:,}", value)

    @property
    def token_channels(self) -> int:
        """Of one token. For images the preprocessor decides it; ``d_model`` then only informs."""
        fourier = 2 * (2 * 64 + 1)
        widths = {FOURIER: CHANNELS + fourier, LEARNED: 2 * 256, CONVOLUTIONAL: 64 + fourier, FLOW: 64 + fourier}
        return widths.get(self.architecture, self.d_model)

    @property
    def cross_channels(self) -> tuple[int, int]:
        """Channels of queries and keys, and of values, in the encoder's cross-attend."""
        by_shape = self.token_channels if self.cross_attention_shape_for_attention == "kv" else self.d_latents
        key = self.qk_channels or by_shape
        return key, self.v_channels or key

    @property
    def self_key_channels(self) -> int:
        return self.qk_channels or self.d_latents

    @property
    def self_value_channels(self) -> int:
        return self.v_channels or self.self_key_channels

    @property
    def is_classifier(self) -> bool:
        return self.architecture in CLASSIFIERS

    @property
    def num_classes(self) -> int:
        return self.num_labels

    @property
    def output_name(self) -> str:
        return "flow" if self.architecture == FLOW else "logits"

    @property
    def vocabulary(self) -> int | None:
        """How many different integers a text is made of; None where the input is numbers."""
        return self.vocab_size if self.architecture in TEXTS else None

    @property
    def input_channels(self) -> int:
        """Of one pixel; a text has none, and one stands for it."""
        if self.vocabulary:
            return 1
        return FRAMES * PATCH_CHANNELS if self.architecture == FLOW else CHANNELS

    @property
    def input_axis(self) -> int:
        return 1 if self.vocabulary else 2

    @property
    def default_input_shape(self) -> tuple[int, ...]:
        """What the model was trained on, or, of an image, the published models'."""
        if self.vocabulary:
            return (self.max_position_embeddings,)
        if self.architecture == FLOW:
            return self.train_size
        return (self.image_size, self.image_size) if self.architecture == LEARNED else (_IMAGE_SIZE, _IMAGE_SIZE)

    def sample_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one input, channels last."""
        if self.vocabulary:
            return input_shape
        return (*input_shape, self.input_channels)

    def require_input_shape(self, input_shape: tuple[int, ...], *, where: object = None) -> None:
        """Raises BadInputError where the model's positions or windows do not allow inputs of this size."""
        if self.architecture == FLOW and input_shape != self.train_size:
            allowed = f"{list(self.train_size)}: the model's output has this one size"
        elif self.architecture == LEARNED and input_shape[0] != input_shape[1]:
            allowed = "a square: its positions are a table"
        elif self.vocabulary and input_shape[0] > self.max_position_embeddings:
            allowed = f"at most {self.max_position_embeddings}: it has no more positions"
        elif self.architecture == CONVOLUTIONAL and min(input_shape) < 5:
            allowed = "at least 5 × 5: the stem leaves no token of less"
        else:
            return
        raise BadInputError("The input shape does not fit the model.", expected=allowed, got=input_shape, where=where)

    def to_dict(self) -> dict[str, Any]:
        """As in a ``config.json``; `parse_huggingface_config` reads it again."""
        values = dataclasses.asdict(self)
        values["train_size"] = list(self.train_size)
        return {"model_type": MODEL_TYPE, "architectures": [values.pop("architecture")], **values}


def is_huggingface(values: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is one of transformers' Perceivers."""
    return values.get("model_type") == MODEL_TYPE


def parse_huggingface_config(values: Mapping[str, Any], *, where: object = None) -> HuggingFaceConfig:
    """Read a ``config.json`` of transformers; keys that decide nothing are ignored.

    Raises:
        BadInputError: as `HuggingFaceConfig`, and for a file that does not say which architecture it is.
    """
    architectures = values.get("architectures")
    if not (isinstance(architectures, list) and architectures and isinstance(architectures[0], str)):
        raise BadInputError(
            "The configuration does not say which Perceiver it is.", expected='"architectures": ["PerceiverFor…"]',
            got=repr(architectures), where=where,
        )  # fmt: skip
    names = {field.name for field in dataclasses.fields(HuggingFaceConfig)} - {"architecture"}
    given = {name: values[name] for name in names if name in values}
    if isinstance(given.get("train_size"), list):
        given["train_size"] = tuple(given["train_size"])
    if isinstance(labels := values.get("id2label"), Mapping):
        given["num_labels"] = len(labels)
    try:
        return HuggingFaceConfig(architecture=architectures[0], **given)
    except BadInputError as error:
        raise BadInputError(f"The configuration cannot be used: {error}", where=where) from error


def huggingface_class_names(values: Mapping[str, Any], config: HuggingFaceConfig) -> tuple[str, ...] | None:
    """The names in ``id2label`` in the order of the logits; None where it has transformers' placeholders, or none.

    ImageNet has two classes called crane: of equal names each gets its number.
    """
    labels = values.get("id2label")
    if not config.is_classifier or not isinstance(labels, Mapping):
        return None
    names = [str(labels.get(str(i), labels.get(i, f"LABEL_{i}"))) for i in range(config.num_labels)]
    if all(name == f"LABEL_{i}" for i, name in enumerate(names)):
        return None
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _wrong(key: str, expected: str, got: object) -> BadInputError:
    return BadInputError(f"The key {key!r} of the configuration is not usable.", expected=expected, got=repr(got))
