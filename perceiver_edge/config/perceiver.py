"""What a Perceiver is (`PerceiverConfig`) and what it is fed (`InputSpec`); the named presets."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from perceiver_edge.config.huggingface import HuggingFaceConfig, is_huggingface, parse_huggingface_config
from perceiver_edge.config.perceiver_io import PerceiverIOConfig, is_perceiver_io, parse_perceiver_io_config
from perceiver_edge.errors import BadInputError

LAYER_NORM_EPSILON = 1e-5
"""torch.nn.LayerNorm's default, which perceiver-pytorch uses throughout."""

FEED_FORWARD_MULTIPLIER = 4
"""Hidden width of a feed-forward block over the latent width (perceiver-pytorch's ``mult``)."""


@dataclass(frozen=True, kw_only=True)
class PerceiverConfig:
    """The constructor arguments of `perceiver_edge.Perceiver`, with the defaults of perceiver-pytorch 0.11.

    ``freq_base=None`` spaces the Fourier bands linearly from 1 to ``max_freq / 2`` (Jaegle et al. 2021, section 3.2);
    a number spaces them logarithmically with that base, as perceiver-pytorch before 0.8 and the TF package do.

    Raises:
        BadInputError: a value is out of range or of the wrong type.
    """

    num_freq_bands: int
    max_freq: float
    depth: int
    input_channels: int = 3
    input_axis: int = 2
    num_latents: int = 512
    latent_dim: int = 512
    cross_heads: int = 1
    latent_heads: int = 8
    cross_dim_head: int = 64
    latent_dim_head: int = 64
    num_classes: int = 1000
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    weight_tie_layers: bool = False
    fourier_encode_data: bool = True
    self_per_cross_attn: int = 1
    final_classifier_head: bool = True
    freq_base: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_field(field.name, getattr(self, field.name))

    @property
    def context_channels(self) -> int:
        """Channels of one context token: the data's own, then per axis sin and cos of each band and the position."""
        encoding = self.input_axis * (2 * self.num_freq_bands + 1) if self.fourier_encode_data else 0
        return self.input_channels + encoding

    @property
    def is_classifier(self) -> bool:
        return self.final_classifier_head

    @property
    def output_name(self) -> str:
        """What the output of every artefact is called."""
        return "logits" if self.final_classifier_head else "latents"

    @property
    def vocabulary(self) -> int | None:
        """How many different integers an input is made of; None where it is numbers."""
        return None

    def sample_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of one input, without the batch: ``[*axes, channels]``."""
        return (*input_shape, self.input_channels)

    def require_input_shape(self, input_shape: tuple[int, ...], *, where: object = None) -> None:
        """Any size will do."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


ModelConfig = PerceiverConfig | HuggingFaceConfig | PerceiverIOConfig
"""All that a model's configuration can be; what they have in common is what every stage but the readers asks for."""


_POSITIVE_INTS = {
    "input_channels",
    "num_latents",
    "latent_dim",
    "cross_heads",
    "latent_heads",
    "cross_dim_head",
    "latent_dim_head",
    "num_classes",
    "depth",
}
_LAYERS = {"depth", "self_per_cross_attn"}
MOST_LAYERS = 1000
MOST_SIZE = 1_000_000
"""A hundred times what any published Perceiver has: beyond them a number is a mistake, and takes memory without end."""

_NON_NEGATIVE_INTS = {"num_freq_bands", "self_per_cross_attn"}
_BOOLS = {"weight_tie_layers", "fourier_encode_data", "final_classifier_head"}


def _is_finite(value: object) -> TypeGuard[float]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def _check_field(name: str, value: object) -> None:
    def wrong(expected: str) -> BadInputError:
        return BadInputError(f"Perceiver option {name!r} is out of range.", expected=expected, got=repr(value))

    is_int = isinstance(value, int) and not isinstance(value, bool)
    least = 0 if name in _NON_NEGATIVE_INTS else 1
    most = MOST_LAYERS if name in _LAYERS else MOST_SIZE
    if name in _POSITIVE_INTS | _NON_NEGATIVE_INTS and not (is_int and least <= value <= most):  # type: ignore[operator]
        raise wrong(f"an integer from {least} to {most:,}")
    if name == "input_axis" and not (is_int and 1 <= value <= 3):  # type: ignore[operator]
        raise wrong("1 (sequence), 2 (image) or 3 (video)")
    if name in _BOOLS and not isinstance(value, bool):
        raise wrong("true or false")
    if name in {"max_freq", "attn_dropout", "ff_dropout"} or (name == "freq_base" and value is not None):
        if not _is_finite(value):
            raise wrong("a finite number")
        if name.endswith("dropout") and not 0 <= value < 1:
            raise wrong("a rate in [0, 1)")
        if name == "max_freq" and value <= 0:
            raise wrong("a number above 0")
        if name == "freq_base" and value <= 1:
            raise wrong("None (linear bands) or a number above 1 (logarithmic bands)")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a deployed model is fed, as far as somebody has said: None, and an empty shape, are not said.

    ``shape`` are the sizes of the input axes (height and width for an image). ``image_mean`` and ``image_std`` turn
    pixels in [0, 1] into model input, ``(pixel - mean) / std``, per channel or one number for all; ``resize`` is one of
    `RESIZE`. These three only matter where pictures are read from files.

    Raises:
        BadInputError: a value is out of range. A mean or deviation above 1 is of pixels in 0…255.
    """

    shape: tuple[int, ...] = ()
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None
    resize: str | None = None

    def __post_init__(self) -> None:
        are_sizes = all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in self.shape)
        if not are_sizes:
            raise BadInputError("The input shape is not usable.", expected="sizes of at least 1", got=self.shape)
        if not (all(map(_is_finite, self.mean)) and all(_is_finite(std) and std > 0 for std in self.std)):
            raise BadInputError(
                "image_mean and image_std are not usable.",
                expected="finite means and positive standard deviations",
                got=(self.image_mean, self.image_std),
            )
        for name, values in (("image_mean", self.mean), ("image_std", self.std)):
            if max(map(abs, values), default=0.0) > 1:
                by_255 = ", ".join(f"{value / 255:.4g}" for value in values)
                raise BadInputError(
                    f"{name} is not of pixels in [0, 1].", expected="numbers of at most 1", got=list(values),
                    fix=f"if it is of pixels in 0…255, divide it by 255: {by_255}",
                )  # fmt: skip
        if self.resize not in (None, *RESIZE):
            raise BadInputError("resize is not usable.", expected=", ".join(RESIZE), got=repr(self.resize))

    @property
    def mean(self) -> tuple[float, ...]:
        """0 where nothing was said."""
        return (0.0,) if self.image_mean is None else self.image_mean

    @property
    def std(self) -> tuple[float, ...]:
        """1 where nothing was said."""
        return (1.0,) if self.image_std is None else self.image_std

    @property
    def declares_normalisation(self) -> bool:
        return self.image_mean is not None or self.image_std is not None

    def to_dict(self) -> dict[str, Any]:
        """What was said, under the names of ``config.json``."""
        values = {key: getattr(self, field) for key, field in _SPEC_KEYS.items()}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v not in (None, ())}


CLASS_NAMES = "class_names"
RESIZE = ("cover", "squash", "shortest", "crop")
"""How a picture gets the input's size. ``cover``: scaled to cover it, and cropped about the centre. ``squash``: scaled
to it, each axis for itself. ``shortest``: as ``cover``, with the middle 7/8 of what would be kept; where the input is
224 wide, that is torchvision's Resize(256) and CenterCrop(224). ``crop``: a centred square of 7/8 of the shorter side
is cut out, and scaled with bicubic interpolation, as transformers does for its Perceivers."""

_SPEC_KEYS = {"input_shape": "shape", "image_mean": "image_mean", "image_std": "image_std", "resize": "resize"}
MADE_BY = "made_by"
"""The library that a model was trained with: perceiver_edge, where `Perceiver.save_pretrained` wrote the file."""


CONFIG_KEYS = {*(field.name for field in dataclasses.fields(PerceiverConfig)), *_SPEC_KEYS, CLASS_NAMES, MADE_BY}
"""What a ``config.json`` may hold."""

_ONLY_OFF: dict[str, Callable[[Any], bool]] = {
    "inverted_cross_attn": lambda value: not any(value if isinstance(value, list | tuple) else [value]),
    "attn_residual": lambda value: not value,
    "attn_residual_rank": lambda value: True,  # of what attn_residual turns on
    "queries_contribute_kv": lambda value: not value,
    "self_attn_rel_pos": lambda value: not value,
}
"""Arguments of perceiver-pytorch, 0.3 to 0.11, that change nothing where they are off, and whether a value is off."""


def _one_or_more(key: str, value: object, *, where: object) -> tuple[Any, ...]:
    """One number stands for a list of one."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, int | float):
        return (value,)
    raise BadInputError(
        f"{key!r} of the configuration is not usable.", expected="a number or a list", got=repr(value), where=where
    )


def check_config_keys(values: Mapping[str, Any], *, where: object = None) -> None:
    """Raises BadInputError for keys that no Perceiver has, and for those of perceiver-pytorch that are on."""
    if unknown := sorted(set(values) - CONFIG_KEYS - set(_ONLY_OFF)):
        raise BadInputError(
            "The configuration has keys that a Perceiver does not have.",
            expected=", ".join(field.name for field in dataclasses.fields(PerceiverConfig)),
            got=", ".join(unknown),
            where=where,
        )
    for key, is_off in _ONLY_OFF.items():
        if key in values and not is_off(values[key]):
            raise BadInputError(
                f"The Perceiver was trained with {key}, which perceiver_edge does not compute.",
                expected=f"{key}: false, or no such key", got=f"{key}: {values[key]!r}", where=where,
            )  # fmt: skip


def parse_config(values: Mapping[str, Any], *, where: object = None) -> tuple[ModelConfig, InputSpec | None]:
    """Read the flat mapping of a ``config.json``: constructor arguments, and optionally the keys of `InputSpec`.

    Configurations of transformers are known by their ``model_type``. ``class_names`` may stand beside them
    (`parse_class_names`), and arguments of perceiver-pytorch's that are off.

    Raises:
        BadInputError: unknown or missing keys, or values out of range.
    """
    if is_huggingface(values):
        return _with_spec(parse_huggingface_config(values, where=where), values, where)
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
    return _with_spec(PerceiverConfig(**arguments), values, where)


def _with_spec(config: ModelConfig, values: Mapping[str, Any], where: object) -> tuple[ModelConfig, InputSpec | None]:
    spec_keys = {key: values[key] for key in _SPEC_KEYS if key in values}
    if not spec_keys:
        return config, None
    resize = spec_keys.pop("resize", None)
    said = {_SPEC_KEYS[key]: _one_or_more(key, value, where=where) for key, value in spec_keys.items()}
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


PRESETS: dict[str, tuple[PerceiverConfig, InputSpec]] = {
    # The model of the `perceiver` package's README. No weights are published for it.
    "readme": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=6,
            max_freq=10.0,
            depth=6,
            num_latents=256,
            latent_dim=512,
            cross_heads=1,
            latent_heads=8,
            cross_dim_head=64,
            latent_dim_head=64,
            num_classes=1000,
        ),
        InputSpec(shape=(224, 224), image_mean=(0.5,), image_std=(0.5,)),
    ),
    # The ImageNet Perceiver (Jaegle et al. 2021, section 4.1 and appendix): 64 bands up to the Nyquist frequency,
    # 261 channels, one cross head as wide as the context, 8 cross-attends of 6 self-attends, shared after the first.
    # Feed-forward blocks are perceiver-pytorch's (GEGLU, four times the width); the paper's are narrower.
    "paper": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=64,
            max_freq=224.0,
            depth=8,
            num_latents=512,
            latent_dim=1024,
            cross_heads=1,
            latent_heads=8,
            cross_dim_head=261,
            latent_dim_head=128,
            num_classes=1000,
            weight_tie_layers=True,
            self_per_cross_attn=6,
        ),
        InputSpec(shape=(224, 224), image_mean=(0.5,), image_std=(0.5,)),
    ),
    # One architecture for every other kind of input: frames of a video, samples of a sound, points in space.
    "video": (
        PerceiverConfig(
            input_channels=3,
            input_axis=3,
            num_freq_bands=6,
            max_freq=32.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=400,
        ),
        InputSpec(shape=(16, 64, 64), image_mean=(0.5,), image_std=(0.5,)),
    ),
    "audio": (
        PerceiverConfig(
            input_channels=1,
            input_axis=1,
            num_freq_bands=32,
            max_freq=12288.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=527,
        ),
        InputSpec(shape=(12288,)),
    ),
    "points": (
        PerceiverConfig(
            input_channels=3,
            input_axis=1,
            num_freq_bands=0,
            max_freq=1.0,
            depth=4,
            num_latents=128,
            latent_dim=256,
            num_classes=40,
            fourier_encode_data=False,
        ),
        InputSpec(shape=(2048,)),
    ),
    # Seconds instead of minutes: for tests and first steps.
    "tiny": (
        PerceiverConfig(
            input_channels=3,
            input_axis=2,
            num_freq_bands=2,
            max_freq=8.0,
            depth=2,
            num_latents=8,
            latent_dim=32,
            cross_heads=1,
            latent_heads=2,
            cross_dim_head=16,
            latent_dim_head=16,
            num_classes=10,
        ),
        InputSpec(shape=(16, 16), image_mean=(0.5,), image_std=(0.5,)),
    ),
}
"""Architectures without weights: `digits`, which has weights, lives in `perceiver_edge.data`."""
