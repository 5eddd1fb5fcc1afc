"""What a Perceiver is: the constructor arguments of `perceiver_edge.Perceiver` and of perceiver-pytorch's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from perceiver_edge.config.limits import MOST_LAYERS, MOST_SIZE
from perceiver_edge.config.numbers import is_finite
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

    ``inverted_cross_attn``: softmax of cross-attends over the latents instead of the tokens (Locatello et al. 2020,
    arXiv:2006.15055), in all layers, or for each layer by itself. ``attn_residual``: what goes into the next layer is
    pooled from the outputs of all before it, by weights of ``attn_residual_rank`` channels. Both are as in
    perceiver-pytorch 0.10.

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
    inverted_cross_attn: bool | tuple[bool, ...] = False
    attn_residual: bool = False
    attn_residual_rank: int = 64

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_field(field.name, getattr(self, field.name))
        _check_inverted(self.inverted_cross_attn, self.depth)
        if len(set(self.inverted_layers)) == 1:  # one way of saying it
            object.__setattr__(self, "inverted_cross_attn", self.inverted_layers[0])
        else:
            object.__setattr__(self, "inverted_cross_attn", self.inverted_layers)

    @property
    def inverted_layers(self) -> tuple[bool, ...]:
        """Of each layer, whether its cross-attend is inverted."""
        given = self.inverted_cross_attn
        return (given,) * self.depth if isinstance(given, bool) else tuple(given)

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

    def beside(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shapes of other inputs, by name: there are none."""
        return {}

    def require_input_shape(self, input_shape: tuple[int, ...], *, where: object = None) -> None:
        """Any size will do."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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
    "attn_residual_rank",
}
_LAYERS = {"depth", "self_per_cross_attn"}
_NON_NEGATIVE_INTS = {"num_freq_bands", "self_per_cross_attn"}
_BOOLS = {"weight_tie_layers", "fourier_encode_data", "final_classifier_head", "attn_residual"}


def _check_inverted(value: object, depth: int) -> None:
    is_list = isinstance(value, list | tuple) and len(value) == depth and all(isinstance(one, bool) for one in value)
    if not (isinstance(value, bool) or is_list):
        raise BadInputError(
            "Perceiver option 'inverted_cross_attn' is out of range.",
            expected=f"true or false, or a list of {depth} of them, one for each layer", got=repr(value),
        )  # fmt: skip


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
        if not is_finite(value):
            raise wrong("a finite number")
        if name.endswith("dropout") and not 0 <= value < 1:
            raise wrong("a rate in [0, 1)")
        if name == "max_freq" and value <= 0:
            raise wrong("a number above 0")
        if name == "freq_base" and value <= 1:
            raise wrong("None (linear bands) or a number above 1 (logarithmic bands)")
