"""Which models are measured by name, and with which samples: what `convert` is told of each."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from environments import python_of

from perceiver_edge.errors import ConversionError

PRESETS = ("digits", "readme", "paper", "video", "audio", "points", "tiny")
TRAINED = ("digits_fourier", "digits_conv", "snippets", "masked_bytes")
"""Small ones of transformers' architectures, which lie with the tests."""
PUBLISHED = ("vision-perceiver-fourier", "vision-perceiver-learned", "vision-perceiver-conv", "language-perceiver")
"""Sizes that Hugging Face publishes, with random weights (`make_published`)."""

_SAMPLES = {"digits": (128, 360), "paper": (4, 6)} | dict.fromkeys(PUBLISHED, (8, 8))
_SAMPLES_OF_OTHERS = (16, 16)
"""To calibrate and to judge with. The largest models take seconds a sample in most engines."""
SAMPLES_OF_TRAINED = (64, 1_024)
"""So many labelled samples tell an accuracy to a point or two."""

_GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "trained.py"


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """``model``: a name or a folder. ``data``, ``held_out_data``: as the options of these names; None: those that go
    with the model. ``counts``: samples to calibrate and to judge with.

    ``labels``: the right classes of ``held_out_data``, int64 ``[n]``, or of a masked language model's answers
    ``[n, length]``, where -1 is not asked for; None: those that come with the samples, if any.

    ``has_random_weights``: a folder does not say how its weights came about. ``is_int8_alone``: ours is not compiled in
    float32, which is gigabytes more, and minutes.
    """

    name: str
    model: str | Path
    counts: tuple[int, int]
    data: Path | None = None
    held_out_data: Path | None = None
    labels: np.ndarray | None = None
    input_shape: tuple[int, ...] | None = None
    has_random_weights: bool = False
    is_int8_alone: bool = False


def source_of(name: str, cache: Path) -> Source:
    """The model of this name; it or its samples are made now if they are not in the cache.

    Raises:
        NotRunError: it is to be made in an environment that is not there.
        ConversionError: it could not be made.
    """
    counts = _SAMPLES.get(name, _SAMPLES_OF_OTHERS)
    if name in TRAINED:
        return _trained(name, cache)
    if name in PUBLISHED:
        folder = _published(name, cache)
        return Source(name=name, model=folder, counts=counts, has_random_weights=True, is_int8_alone=True)
    return Source(name=name, model=name, counts=counts, is_int8_alone=name == "paper")


def _trained(name: str, cache: Path) -> Source:
    golden = _golden()
    seen, held_out = golden.parts(name)
    folder = cache.absolute() / f"{name}_samples"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "seen.npz", **seen.inputs)
    labels = {"labels": held_out.labels} if held_out.labels.ndim == 1 else {}
    np.savez(folder / "held_out.npz", **held_out.inputs, **labels)
    shape = held_out.inputs["input"].shape[1:3] if name in golden.PICTURE_SIZES else None
    return Source(
        name=name, model=golden.folder(name), counts=(128, len(held_out.labels)), data=folder / "seen.npz",
        held_out_data=folder / "held_out.npz", labels=held_out.labels, input_shape=shape,
    )  # fmt: skip


@functools.cache
def _golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_trained", _GOLDEN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _published(name: str, cache: Path) -> Path:
    folder = cache.absolute() / "published" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:  # a run that is stopped leaves no half of a folder
            script = Path(__file__).with_name("make_published.py")
            command = [python_of("torch", cache), script, name, Path(made, name)]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ConversionError(f"{name} could not be made.", got=done.stderr.strip()[-300:], where=folder)
            Path(made, name).replace(folder)
    return folder
