"""What a Perceiver of Hugging Face's transformers is: `HuggingFaceConfig`, read from its ``config.json``.

One ``config.json`` has the keys of all tasks, used or not; ``architectures[0]`` says which task it is. Keys that older
files lack have transformers' defaults. ``layer_norm_eps`` is read by nothing: the layers have torch's 1e-5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perceiver_edge.config.limits import MOST_ELEMENTS, MOST_LAYERS, MOST_SIZE
from perceiver_edge.errors import BadInputError, found_in, option

MODEL_TYPE = "perceiver"

FOURIER = "PerceiverForImageClassificationFourier"
LEARNED = "PerceiverForImageClassificationLearned"
CONVOLUTIONAL = "PerceiverForImageClassificationConvProcessing"
MASKED_LM = "PerceiverForMaskedLM"
SEQUENCE = "PerceiverForSequenceClassification"
FLOW = "PerceiverForOpticalFlow"
MULTIMODAL = "PerceiverForMultimodalAutoencoding"
ARCHITECTURES = (FOURIER, LEARNED, CONVOLUTIONAL, MASKED_LM, SEQUENCE, FLOW, MULTIMODAL)

IMAGES = {FOURIER, LEARNED, CONVOLUTIONAL}
TEXTS = {MASKED_LM, SEQUENCE}
CLASSIFIERS = IMAGES | {SEQUENCE, MULTIMODAL}

CHANNELS = 3
PATCH_CHANNELS = 27
"""Of a pixel of one frame of an optical flow's input: 3 × 3 neighbours of 3 colours."""

FRAMES = 2
AUDIO, IMAGE, LABEL = "audio", "image", "label"
AUDIO_BANDS, VIDEO_BANDS = 192, 32
"""Of the Fourier features of a multimodal model, which transformers has as constants."""

SPACE_PATCH = 4
"""A side of the squares of pixels that are one token of a video."""

LEAST_PADDING, LEAST_QUERY_PADDING = 4, 2
"""Learned channels by which the widest modality's tokens, and queries, are padded."""

ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "gelu_accurate": "gelu_tanh", "gelu_python_tanh": "gelu_tanh",
    "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
"""transformers' names of activations, and those of `lowering.program.Activation`."""

TASKS = {
    "single_label_classification": "classification", "regression": "regression",
    "multi_label_classification": "regression",
}  # fmt: skip
"""transformers' names of what outputs are, and ours. Of several labels at once each score stands for itself, as values
do: none is the likeliest."""

_SIZES = {"train_size": ("height", "width"), "output_shape": ("batch", "frames", "height", "width")}
_LABEL_CHANNELS = "_label_trainable_num_channels"
"""transformers' key, which is not public there."""

_IMAGE_SIZE = 224
"""Of the published vision models; those with Fourier features and convolutions run at any other."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceConfig:
    """The keys of a ``config.json`` that decide what is computed; names and defaults are those of transformers 5.

    Two keys are ours: ``outputs``, the one output of a multimodal model that is computed (``label``), and
    ``positions``, which of a masked language model's answers are (None: all).

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
    num_frames: int = 16
    audio_samples_per_frame: int = 1920
    samples_per_patch: int = 16
    output_shape: tuple[int, ...] = (1, 16, 224, 224)
    output_num_channels: int = 512
    label_trainable_num_channels: int = 1024
    problem_type: str | None = None
    outputs: str | None = None
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise BadInputError(
                "This architecture is not supported.", expected=", ".join(ARCHITECTURES), got=self.architecture,
                fix="it has no input and output of its own: save the model of a task, which has it in it"
                if self.architecture == "PerceiverModel" else None,
            )  # fmt: skip
        if self.architecture == MULTIMODAL and self.outputs is None:
            raise BadInputError(
                "Of this model's three outputs only the label is compiled.", expected=f"{option('outputs')} {LABEL}",
                got="no choice", fix=f"pass {option('outputs', LABEL)}. Video and sound are answered by 800,000 "
                "queries in 128 rounds, which is no deployed model",
            )  # fmt: skip
        for field in dataclasses.fields(self):
            self._check(field.name, getattr(self, field.name))
        if self.hidden_act not in ACTIVATIONS:
            raise _wrong("hidden_act", ", ".join(ACTIVATIONS), self.hidden_act)
        if self.problem_type not in (None, *TASKS):
            raise _wrong("problem_type", ", ".join(TASKS), self.problem_type)
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
        if name in _SIZES:
            count = len(_SIZES[name])
            are_sizes = isinstance(value, tuple) and len(value) == count
            if not are_sizes or not all(type(size) is int and size >= 1 for size in value):  # type: ignore[attr-defined]
                raise _wrong(name, f"{count} sizes of at least 1", value)
            if math.prod(value) > MOST_ELEMENTS:  # type: ignore[call-overload]
                raise _wrong(name, f"sizes of at most {MOST_ELEMENTS:,} elements", value)
        elif name == "positions":
            self._check_positions(value)
        elif name == "outputs":
            if value is not None and (value != LABEL or self.architecture != MULTIMODAL):
                raise _wrong(name, f"{LABEL}, of a {MULTIMODAL}", value)
        elif name == "use_query_residual":
            if not isinstance(value, bool):
                raise _wrong(name, "true or false", value)
        elif name in ("architecture", "hidden_act", "cross_attention_shape_for_attention", "problem_type"):
            if not (isinstance(value, str) or (name == "problem_type" and value is None)):
                raise _wrong(name, "a text", value)
        elif not (name in ("qk_channels", "v_channels") and value is None):
            most = MOST_LAYERS if name in ("num_blocks", "num_self_attends_per_block") else MOST_SIZE
            if not (is_int and 1 <= value <= most):  # type: ignore[operator]
                raise _wrong(name, f"an integer from 1 to {most:,}", value)

    def _check_positions(self, value: object) -> None:
        if value is None:
            return
        most = self.max_position_embeddings
        expected = f"numbers from 0 to {most - 1}, of a {MASKED_LM}"
        if self.architecture != MASKED_LM or not isinstance(value, tuple) or not value:
            raise _wrong("positions", expected, value)
        if wrong := [number for number in value if type(number) is not int or not 0 <= number < most]:
            raise _wrong("positions", expected, wrong[0])

    @property
    def token_channels(self) -> int:
        """Of one token. For images the preprocessor decides it; ``d_model`` then only informs."""
        fourier = 2 * (2 * 64 + 1)
        widths = {FOURIER: CHANNELS + fourier, LEARNED: 2 * 256, CONVOLUTIONAL: 64 + fourier, FLOW: 64 + fourier}
        if self.architecture == MULTIMODAL:
            return max(self.modality_channels.values()) + LEAST_PADDING
        return widths.get(self.architecture, self.d_model)

    @property
    def modality_channels(self) -> dict[str, int]:
        """Of a token of each modality before it is padded, in the order of the tokens; transformers sorts them."""
        return {
            AUDIO: self.samples_per_patch + 2 * AUDIO_BANDS + 1,
            IMAGE: SPACE_PATCH**2 * CHANNELS + 3 * (2 * VIDEO_BANDS + 1),
            LABEL: self.num_labels,
        }

    @property
    def query_channels(self) -> dict[str, int]:
        """Of a query for each modality before it is padded."""
        return {AUDIO: 2 * AUDIO_BANDS + 1, IMAGE: 3 * (2 * VIDEO_BANDS + 1),
                LABEL: self.label_trainable_num_channels}  # fmt: skip

    @property
    def cross_channels(self) -> tuple[int, int]:
        """Channels of queries and keys, and of values, in the encoder's cross-attend."""
        by_shape = self.token_channels if self.cross_attention_shape_for_attention == "kv" else self.d_latents
        key = self.qk_channels or by_shape
        return key, self.v_channels or key

    def decoder_channels(self, query: int) -> tuple[int, int]:
        """As `cross_channels`, of the decoder whose queries have ``query`` channels; a text decoder has its own."""
        width = self.d_latents if self.cross_attention_shape_for_attention == "kv" else query
        return width, width

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
    def task(self) -> str | None:
        """What the outputs are, where the configuration says it: classification or regression."""
        return TASKS[self.problem_type] if self.problem_type and self.is_classifier else None

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
        if self.architecture == MULTIMODAL:
            return 3
        return 1 if self.vocabulary else 2

    @property
    def default_input_shape(self) -> tuple[int, ...]:
        """What the model was trained on, or, of an image, the published models'."""
        if self.vocabulary:
            return (self.max_position_embeddings,)
        if self.architecture == FLOW:
            return self.train_size
        if self.architecture == MULTIMODAL:
            return self.num_frames, *self.output_shape[2:]
        return (self.image_size, self.image_size) if self.architecture == LEARNED else (_IMAGE_SIZE, _IMAGE_SIZE)

    def sample_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one input, channels last."""
        if self.vocabulary:
            return input_shape
        return (*input_shape, self.input_channels)

    def beside(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shapes of the other inputs, by name: the sound of a video."""
        if self.architecture != MULTIMODAL:
            return {}
        return {AUDIO: (input_shape[0] * self.audio_samples_per_frame, 1)}

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
        elif self.architecture == MULTIMODAL and input_shape[0] < 2:
            allowed = "at least 2 frames: transformers makes no positions for one"
        elif self.architecture == MULTIMODAL and any(size % SPACE_PATCH for size in input_shape[1:]):
            allowed = f"frames of multiples of {SPACE_PATCH}: so many pixels a side are one token"
        elif self.architecture == MULTIMODAL and input_shape[0] * self.audio_samples_per_frame % self.samples_per_patch:
            allowed = f"so many frames that their samples are a multiple of {self.samples_per_patch}"
        else:
            return
        raise BadInputError("The input shape does not fit the model.", expected=allowed, got=input_shape, where=where)

    def to_dict(self) -> dict[str, Any]:
        """As in a ``config.json``; `parse_huggingface_config` reads it again."""
        values = dataclasses.asdict(self)
        for name in ("train_size", "output_shape", "positions"):
            values[name] = None if values[name] is None else list(values[name])
        values[_LABEL_CHANNELS] = values.pop("label_trainable_num_channels")
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
    given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
    if _LABEL_CHANNELS in values:
        given["label_trainable_num_channels"] = values[_LABEL_CHANNELS]
    labels = values.get("id2label")
    if isinstance(labels, Mapping):
        given["num_labels"] = len(labels)
    with found_in(where):
        if not isinstance(labels, Mapping | None):
            raise _wrong("id2label", "a mapping from numbers to names", labels)
        return HuggingFaceConfig(architecture=architectures[0], **given)


def _wrong(key: str, expected: str, got: object) -> BadInputError:
    return BadInputError(f"The key {key!r} of the configuration is not usable.", expected=expected, got=repr(got))
