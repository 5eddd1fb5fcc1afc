"""What a deployed model is fed (`InputSpec`): sizes, and how a picture becomes an input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from perceiver_edge.config.limits import MOST_ELEMENTS
from perceiver_edge.config.numbers import is_finite
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import RESIZE

SPEC_KEYS = {"input_shape": "shape", "image_mean": "image_mean", "image_std": "image_std", "resize": "resize"}
"""Keys of a ``config.json``, and the field that each one is."""


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
        if not are_sizes or math.prod(self.shape) > MOST_ELEMENTS:
            raise BadInputError(
                "The input shape is not usable.",
                expected=f"sizes of at least 1, and at most {MOST_ELEMENTS:,} elements", got=self.shape,
            )  # fmt: skip
        if not (all(map(is_finite, self.mean)) and all(is_finite(std) and std > 0 for std in self.std)):
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
        values = {key: getattr(self, field) for key, field in SPEC_KEYS.items()}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items() if v not in (None, ())}
