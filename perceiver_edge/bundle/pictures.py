"""What becomes of a picture on its way into a model, in words: for people who have to do the same on a device."""

from __future__ import annotations

from perceiver_edge.config import InputSpec, ModelConfig
from perceiver_edge.files.preprocessing import BYTE_VOCABULARY, KEPT, Pictures, Preprocessing, Text

UNDECLARED = (
    "Nobody has said how pixels are normalised, so they are taken as they are, from 0 to 1. If the model was trained "
    "with a mean and a standard deviation, pass --image-mean and --image-std (image_mean and image_std from Python, or "
    "in config.json)."
)

_SCALED = {
    "cover": "scaled to cover {size} and cropped about the centre",
    "squash": "scaled to {size}, each axis for itself",
    "shortest": "scaled to cover {size} by {larger} and cropped about the centre",
    "crop": "cut to a centred square of {kept} of its shorter side, and scaled to {size} with bicubic interpolation",
}


def takes_pictures(config: ModelConfig) -> bool:
    """Whether the input may be grey or colour pictures ``[height, width, 1 or 3]``."""
    return config.input_axis == 2 and config.input_channels in (1, 3)


def preprocessing_of(config: ModelConfig, spec: InputSpec) -> Preprocessing | None:
    """What makes inputs of pictures or texts; None for a model of something else, or where nobody has said it."""
    if config.vocabulary is not None and config.vocabulary != BYTE_VOCABULARY:
        return None
    if config.vocabulary:
        return Text(length=spec.shape[0])
    if not takes_pictures(config) or not spec.declares_normalisation:
        return None
    return Pictures(
        size=spec.shape, channels=config.input_channels, mean=spec.mean, std=spec.std, resize=spec.resize or "cover"
    )


def normalisation(spec: InputSpec) -> str:
    """As a formula of ``pixel``, 0 to 255."""
    if (set(spec.mean), set(spec.std)) == ({0.0}, {1.0}):
        return "pixel / 255"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    if len(spec.mean) == len(spec.std) == 1:
        return f"(pixel / 255 - {mean}) / {std}"
    return f"(pixel / 255 - mean) / std, with the mean {mean} and the std {std}, a channel each"


def pixels_become(config: ModelConfig, spec: InputSpec) -> str | None:
    """One sentence; None for a model of something else than pictures, and where nobody has said it."""
    if not takes_pictures(config) or not spec.declares_normalisation:
        return None
    scaled = _SCALED[spec.resize or "cover"].format(
        size=" × ".join(map(str, spec.shape)), kept=KEPT, larger=1 / KEPT
    )  # fmt: skip
    return f"A picture is {scaled}; a pixel from 0 to 255 becomes {normalisation(spec)}."
