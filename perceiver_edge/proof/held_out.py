"""Samples that calibration never saw, with what the float reference said of them: all that a proof needs."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perceiver_edge.cache import NO_CACHE, Cache
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.files.arrays import read_npz
from perceiver_edge.runtime import batch

if TYPE_CHECKING:
    from perceiver_edge.calibration import Samples
    from perceiver_edge.proof.reference import Reference

HELD_OUT_NAME = "held_out.npz"
"""Its name in a bundle."""

DIGITS_TEST = "the digits' test split"
UNTRAINED = ", which the model was not trained on"
"""After the description of samples of which the user says so."""

_INPUT_PREFIX = "input."
_ABOUT = "about"

MOST_UNPACKED_BYTES = 8 << 30
"""Of the samples of a proof: 64 pictures of 224 × 224 take a two-hundredth of it."""

_FASTEST = 1
"""Of zlib's levels: for 47 photographs 0.2 s and 8.4 MB, where the default takes 1.3 s and 7.6 MB."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """``inputs``: by name, ``[samples, ...]``. ``reference``: the float32 reference's outputs, ``[samples, ...]``.

    ``labels``: the right classes, int64 ``[samples]``, where they are known.
    """

    inputs: dict[str, np.ndarray]
    reference: np.ndarray
    labels: np.ndarray | None
    source: str
    is_random: bool

    @property
    def input_range(self) -> tuple[float, float] | None:
        """(least, greatest) number of ``input``; None where it is symbols."""
        values = self.inputs.get("input")
        if values is None or values.dtype.kind != "f":
            return None
        return float(values.min()), float(values.max())

    @property
    def num_different(self) -> int:
        """How many of the samples have a content of their own."""
        return len({b"".join(values[row].tobytes() for values in self.inputs.values()) for row in range(len(self))})

    def __len__(self) -> int:
        return len(self.reference)

    def batch(self, start: int, size: int) -> dict[str, np.ndarray]:
        """``size`` samples from ``start``; past the end the last one is repeated, because artefacts have one shape."""
        return batch(self.inputs, start, size)

    def first(self, count: int) -> HeldOut:
        """The first ``count`` samples, or all where there are fewer."""
        return dataclasses.replace(
            self,
            inputs={name: values[:count] for name, values in self.inputs.items()},
            reference=self.reference[:count],
            labels=None if self.labels is None else self.labels[:count],
        )

    def to_bytes(self) -> bytes:
        """A compressed ``.npz``; the same value always gives the same bytes."""
        arrays = {f"{_INPUT_PREFIX}{name}": values for name, values in self.inputs.items()}
        arrays["reference"] = self.reference
        if self.labels is not None:
            arrays["labels"] = self.labels
        arrays[_ABOUT] = np.frombuffer(
            json.dumps({"source": self.source, "is_random": self.is_random}).encode(), np.uint8
        )
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in arrays.items():
                # ZipInfo's default date is fixed, unlike that of np.savez.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _to_npy(values), zipfile.ZIP_DEFLATED, _FASTEST)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, *, where: object) -> HeldOut:
        """Inverse of `to_bytes`.

        Raises:
            BadInputError: not such a file.
        """
        arrays = read_npz(io.BytesIO(content), most_bytes=MOST_UNPACKED_BYTES, where=where)
        try:
            about = json.loads(arrays.pop(_ABOUT).tobytes())
            if set(about) != {"source", "is_random"}:
                raise ValueError(f"{_ABOUT!r} says {sorted(about)}")
            rows = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
            if len(set(rows.values())) != 1 or 0 in rows.values():
                raise ValueError(f"not one number of rows: {rows}")
            if wrong := [name for name, values in arrays.items() if values.dtype.kind not in "fbiu"]:
                raise ValueError(f"no numbers: {', '.join(wrong)}")
            inputs = {n.removeprefix(_INPUT_PREFIX): a for n, a in arrays.items() if n.startswith(_INPUT_PREFIX)}
            if "input" not in inputs:
                raise ValueError("no samples of 'input'")
            return cls(
                inputs=inputs, reference=arrays["reference"], labels=arrays.get("labels"),
                source=str(about["source"]), is_random=bool(about["is_random"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInputError("The proof's samples cannot be read.", got=repr(error), where=where) from error


def says_untrained(source: str) -> bool:
    """Whether a description of samples says that the model was not trained on them."""
    return source == DIGITS_TEST or source.endswith(UNTRAINED)


def require_mask_agreement(sample: Mapping[str, np.ndarray], *, with_mask: bool, where: str) -> None:
    """Raises BadInputError unless the sample has a mask just when the model takes one."""
    if ("mask" in sample) != with_mask:
        raise BadInputError(
            "The samples and the model do not agree on a mask.",
            expected="a mask with every sample" if with_mask else "no masks",
            got=", ".join(sample), where=where, fix=f"pass {option('with_mask', True)}, or samples that fit",
        )  # fmt: skip


def ask_reference(
    reference: Reference,
    samples: Samples,
    *,
    with_mask: bool,
    on_progress: Callable[[int], None],
    cache: Cache = NO_CACHE,
) -> HeldOut:
    """Ask the reference about every sample, one at a time.

    Args:
        with_mask: whether the artefacts take a mask; the samples must then have one, and must not otherwise.
        cache: of this model's results: its basis tells models apart.

    Raises:
        BadInputError: a mask too few or too many, or an output that is not finite; the sample is named.
    """
    rows = []
    for index, sample in enumerate(samples):
        require_mask_agreement(sample, with_mask=with_mask, where=f"{samples.description}, held-out sample {index}")
        rows.append(sample)
    inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def answers() -> bytes:
        outputs = []
        for index in range(len(rows)):
            feeds = {name: values[index : index + 1] for name, values in inputs.items()}
            outputs.append(reference(feeds, where=f"{samples.description}, held-out sample {index}"))
            on_progress(index + 1)
        return _to_npy(np.stack(outputs))

    digests = {name: [list(values.shape), hashlib.sha256(values.data).hexdigest()] for name, values in inputs.items()}
    can_keep = reference.cache_key is not None
    content = cache.cached(["reference", reference.cache_key, digests], answers) if can_keep else answers()
    return HeldOut(
        inputs=inputs,
        reference=np.load(io.BytesIO(content), allow_pickle=False),
        labels=samples.labels,
        source=samples.description,
        is_random=samples.is_random,
    )


def _to_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
