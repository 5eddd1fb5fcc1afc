"""Small Perceivers of transformers' architectures that were trained on real data, with what they never saw.

`train_huggingface.py` trained them and wrote ``trained/``. Random weights attend to everything alike, and have no
accuracy. These attend sharply, and have one to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceiver_edge.data import DIGITS_ARCHIVE, upsample

FOLDER = Path(__file__).parent / "trained"
PICTURE_SIZES = {"digits_fourier": 16, "digits_conv": 32}
TEXTS = ("snippets", "masked_bytes")
NAMES = (*PICTURE_SIZES, *TEXTS)

NUM_TEST = 1_000
INK_MEAN, INK_STD = 0.3, 0.37
NO_LABEL = -1
"""Of a byte that nobody asks for."""

PAD, MASK, CLS, SEP, FIRST_BYTE = 0, 3, 4, 5, 6
"""Symbols of transformers' tokenizer; a byte b is the symbol b + 6."""


@dataclass(frozen=True, eq=False)
class Part:
    """``inputs`` ``[n, ...]`` by name, and ``labels``: ``[n]``, or ``[n, length]`` of a masked language model."""

    inputs: dict[str, np.ndarray]
    labels: np.ndarray

    def __getitem__(self, chosen: slice | np.ndarray) -> Part:
        return Part({name: values[chosen] for name, values in self.inputs.items()}, self.labels[chosen])


def folder(name: str) -> Path:
    """As ``save_pretrained`` wrote it."""
    return FOLDER / name


def parts(name: str) -> tuple[Part, Part]:
    """(seen in training, held out); of texts the first are enough to calibrate with, not to train."""
    return digits(PICTURE_SIZES[name]) if name in PICTURE_SIZES else texts(name)


def digits(size: int) -> tuple[Part, Part]:
    """797 and 1,000 of the package's handwritten digits, ``[n, size, size, 3]`` float32: grey in three channels."""
    with np.load(DIGITS_ARCHIVE) as archive:
        order = np.random.default_rng(0).permutation(len(archive["labels"]))
        images = np.repeat((upsample(archive["images"], size) - INK_MEAN) / INK_STD, 3, -1).astype(np.float32)
        whole = Part({"input": images[order]}, archive["labels"].astype(np.int64)[order])
    return whole[NUM_TEST:], whole[:NUM_TEST]


def texts(name: str) -> tuple[Part, Part]:
    """Texts from CPython: their symbols ``[n, length]`` int32, and a mask, False where they have ended."""
    with np.load(folder(name) / "samples.npz") as archive:
        inputs = {part: archive[part].astype(np.int32) for part in ("seen", "held_out")}
        labels = {part: archive[f"{part}_labels"].astype(np.int64) for part in inputs}
    seen, held_out = (Part({"input": given, "mask": given != PAD}, labels[part]) for part, given in inputs.items())
    return seen, held_out


def store(name: str, seen: Part, held_out: Part) -> None:
    """What `texts` reads."""
    folder(name).mkdir(parents=True, exist_ok=True)
    arrays = {"seen": seen.inputs["input"], "held_out": held_out.inputs["input"]}
    labels = {"seen_labels": seen.labels, "held_out_labels": held_out.labels}
    np.savez_compressed(
        folder(name) / "samples.npz", **{n: v.astype(np.int16) for n, v in {**arrays, **labels}.items()}
    )


def num_right(logits: np.ndarray, labels: np.ndarray) -> int:
    """Of logits ``[n, classes]`` and labels ``[n]``, or ``[n, length, classes]`` and ``[n, length]``."""
    return int(((logits.argmax(-1) == labels) & (labels != NO_LABEL)).sum())
