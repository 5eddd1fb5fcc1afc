"""A Perceiver as a value: its configuration, what it is fed, and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from perceiver_edge.config import InputSpec, ModelConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Float32 weights under their canonical names (see `expected_shapes`), and the configuration they fit.

    ``class_names``: what the classes are called, in the order of the logits, where that is known.
    ``is_own``: whether it was made with this package, and not in another framework.
    """

    config: ModelConfig
    input_spec: InputSpec | None
    weights: Mapping[str, np.ndarray]
    class_names: tuple[str, ...] | None = None
    is_own: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the name, shape, dtype and little-endian bytes of every weight, sorted by name."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.weights.items()):
            little_endian = np.ascontiguousarray(weight, dtype=weight.dtype.newbyteorder("<"))
            digest.update(f"{name} {weight.shape} {little_endian.dtype.str}\n".encode())
            digest.update(little_endian.tobytes())
        return digest.hexdigest()
