"""From what a user writes after ``--calibration-data`` to a source of samples."""

from __future__ import annotations

import codecs
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.calibration.images import ImageFolder
from perceiver_edge.calibration.memory import ArraySource, SequenceSource, StreamSource
from perceiver_edge.calibration.samples import INPUT, MASK, NOTHING, Beside, SampleSource
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.arrays import open_npy, open_npz
from perceiver_edge.files.preprocessing import BYTE_VOCABULARY, PAD, Text
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file

RANDOM = "random"
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KINDS = f"a folder of pictures, a .npy or .npz file, package.module:function, or {RANDOM!r}"


def open_source(
    spec: str,
    *,
    shape: tuple[int, ...],
    image_mean: tuple[float, ...] = (0.0,),
    image_std: tuple[float, ...] = (1.0,),
    resize: str = "cover",
    seed: int = 0,
    vocabulary: int | None = None,
    beside: Beside = NOTHING,
) -> SampleSource:
    """Open the samples that ``spec`` names.

    Args:
        spec: a folder of pictures; ``.npy`` [n, *shape]; ``.npz`` keyed by input name, optionally with ``labels``
            [n]; ``package.module:function`` that returns an iterable of arrays or mappings by input name and is
            called without arguments for every pass; or ``random``. For integers also ``.txt``: each line that is not
            empty is a text, cut to what the model takes.
        shape: of one sample, [*axes, channels].
        image_mean: with ``image_std``, what pictures and random pixels in [0, 1] are normalised with.
        resize: how pictures get the input's size: a key of `preprocessing.RESIZE`.
        seed: of the random samples.
        vocabulary: how many different integers the input is made of; None for numbers.
        beside: shapes of the other inputs; random ones are as random pixels.

    Raises:
        BadInputError: nothing like this exists, it is damaged, empty, or does not fit the model.
    """
    if spec == RANDOM:

        def random_samples() -> Iterator[Any]:
            if vocabulary is not None:
                return _random_texts(shape[0], vocabulary, seed)
            return _random_samples({INPUT: shape, **beside}, image_mean, image_std, seed)

        return StreamSource(
            random_samples, shape=shape, description="random numbers", is_random=True, vocabulary=vocabulary,
            beside=beside,
        )  # fmt: skip
    path = Path(spec)
    if vocabulary is not None and path.suffix == ".txt" and path.exists():
        if vocabulary != BYTE_VOCABULARY:
            raise BadInputError(
                "The model's texts are not bytes, and its tokenizer is not known here.",
                expected="integers: .npy [n, tokens], or .npz with input and mask", got=spec,
                fix=f"make them with the model's own tokenizer; a .txt file is for a vocabulary of {BYTE_VOCABULARY}",
            )  # fmt: skip
        return SequenceSource(_texts(path, shape[0]), shape=shape, description=spec, vocabulary=vocabulary)
    if path.is_dir() and not beside:
        return ImageFolder(path, shape=shape, image_mean=image_mean, image_std=image_std, resize=resize)
    if path.suffix == ".npy" and path.exists():
        return ArraySource(
            {INPUT: open_npy(path)}, shape=shape, description=spec, vocabulary=vocabulary, beside=beside
        )  # fmt: skip
    if path.suffix == ".npz" and path.exists():
        arrays = open_npz(path)
        labels = arrays.pop("labels", None)
        return ArraySource(
            arrays, shape=shape, labels=labels, description=spec, vocabulary=vocabulary, beside=beside
        )  # fmt: skip
    if not path.exists() and _FUNCTION.fullmatch(spec):
        return StreamSource(
            _import_function(spec), shape=shape, description=spec, vocabulary=vocabulary, beside=beside
        )  # fmt: skip
    raise BadInputError(
        "The samples cannot be opened.",
        expected=_KINDS,
        got=f"{spec!r}, {'a file of another kind' if path.exists() else 'which does not exist'}",
    )


def _texts(path: Path, length: int) -> list[dict[str, NDArray[Any]]]:
    content = read_file(path, most_bytes=MOST_TEXT_BYTES, what="The file of texts").removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInputError(
            "The file of texts is not UTF-8, whose bytes the model reads.", expected="UTF-8",
            got=f"the byte 0x{content[error.start]:02x} in line {line}", where=path,
            fix=f"save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path.name}, or whatever it is in",
        ) from error  # fmt: skip
    text = Text(length=length)
    return [text(line[: length - 2]) for line in content.splitlines() if line.strip()]


def _random_texts(length: int, vocabulary: int, seed: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Endless texts of random symbols and lengths, padded."""
    rng = np.random.default_rng(seed)
    while True:
        mask = np.arange(length) < rng.integers(length // 2, length + 1)
        yield {INPUT: np.where(mask, rng.integers(0, vocabulary, length), PAD), MASK: mask}


def _random_samples(
    shapes: Beside, mean: tuple[float, ...], std: tuple[float, ...], seed: int
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Endless noise, spread evenly over what a normalised pixel can be."""
    rng = np.random.default_rng(seed)
    mean_array, std_array = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    while True:
        noise = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
        yield noise | {INPUT: (noise[INPUT] - mean_array) / std_array}


def _import_function(spec: str) -> Callable[[], Any]:
    module_name, _, function_name = spec.partition(":")
    here = str(Path.cwd())
    sys.path.append(here)  # last, so that a user's folder does not hide an installed package
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # importing runs the user's code
        raise BadInputError(
            "The sample function cannot be imported.",
            expected="package.module:function, installed or in the current folder",
            got=repr(error),
            where=spec,
        ) from error
    finally:
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]
    if not callable(function):
        raise BadInputError("The sample function is not a function.", got=type(function).__name__, where=spec)
    return function
