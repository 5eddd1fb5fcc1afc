"""Inputs that a model would meet: photographs, and synthetic ones like nature where the repository has none.

=======  =====================================================================================================
video    real pixels, synthetic motion: a window that pans and zooms over a photograph
audio    synthetic: a few harmonic tones that start and die away, over noise with a 1/f spectrum
points   synthetic: the surface of a box, an ellipsoid or a torus, turned and stretched at random, in the unit cube
texts    real: pieces of CPython's documentation, as long as the model takes, some of them shorter
others   photographs (`make_photographs`)
=======  =====================================================================================================
"""

from __future__ import annotations

import pydoc_data.topics
import tempfile
from pathlib import Path

import make_photographs
import numpy as np

from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.files.preprocessing import Text

_PHOTOGRAPHS = 64


def samples_file(model: NamedModel, cache: Path, *, count: int) -> Path:
    """What ``--calibration-data`` takes: a folder of photographs, or a file of ``count`` samples."""
    shape = model.sample_shape
    if len(shape) == 3:
        folder = cache / f"photographs_{shape[0]}"
        if not folder.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as made:  # a run that is stopped leaves no half of a folder
                make_photographs.make(Path(made, "photographs"), count=_PHOTOGRAPHS, size=shape[0], seed=0)
                Path(made, "photographs").replace(folder)
        return folder
    if model.checkpoint.config.vocabulary:
        return _texts(cache / f"texts_{shape[0]}_{count}.npz", shape[0], count)
    path = cache / f"{model.name}_samples_{'x'.join(map(str, shape))}_{count}.npy"
    if not path.exists():
        rng = np.random.default_rng(0)
        make = _video if len(shape) == 4 else _sound if shape[-1] == 1 else _points
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack([make(shape, rng, number) for number in range(count)]).astype(np.float32))
    return path


def _texts(path: Path, length: int, count: int) -> Path:
    """Every fourth has half of the bytes, so that there is a mask to heed."""
    if not path.exists():
        whole = "\n\n".join(text for _, text in sorted(pydoc_data.topics.topics.items())).encode()
        starts = np.linspace(0, len(whole) - length, count, dtype=int)
        text = Text(length=length)
        samples = [
            text(whole[start : start + (length - 2) // (2 if number % 4 == 3 else 1)].decode(errors="ignore"))
            for number, start in enumerate(starts)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name: np.stack([sample[name] for sample in samples]) for name in samples[0]})
    return path


def _video(shape: tuple[int, ...], rng: np.random.Generator, number: int) -> np.ndarray:
    """``[frames, height, width, 3]``, pixels from -1 to 1."""
    from PIL import Image

    frames, height, width, _ = shape
    photograph = list(make_photographs.crops(number + 1, 0))[-1]
    image, side = Image.fromarray(photograph), photograph.shape[0]
    sizes = np.linspace(*rng.uniform(0.4, 0.7, 2), frames) * side
    lefts, tops = (np.linspace(*rng.uniform(0, 0.3, 2), frames) * side for _ in range(2))
    boxes = ((left, top, left + size, top + size) for left, top, size in zip(lefts, tops, sizes, strict=True))
    views = [image.resize((width, height), Image.Resampling.BILINEAR, box=box) for box in boxes]
    return np.stack([np.asarray(view) for view in views]) / 127.5 - 1


def _sound(shape: tuple[int, ...], rng: np.random.Generator, _number: int) -> np.ndarray:
    """``[samples, 1]``, one second that peaks at 0.9."""
    count = shape[0]
    spectrum = rng.standard_normal(count // 2 + 1) + 1j * rng.standard_normal(count // 2 + 1)
    noise = np.fft.irfft(spectrum / np.maximum(np.arange(count // 2 + 1), 1) ** 0.5, count)
    sound = 0.1 * noise / noise.std()
    time = np.arange(count) / count
    for _ in range(rng.integers(1, 5)):
        pitch, start, decay = rng.uniform(80, 800), rng.uniform(0, 0.7), rng.uniform(2, 12)
        since = np.maximum(time - start, 0)
        tone = sum(np.sin(2 * np.pi * pitch * harmonic * since) / harmonic for harmonic in range(1, 6))
        sound += tone * np.exp(-decay * since)
    return (0.9 * sound / np.abs(sound).max())[:, np.newaxis]


def _points(shape: tuple[int, ...], rng: np.random.Generator, number: int) -> np.ndarray:
    """``[points, 3]``."""
    around = rng.standard_normal((shape[0], 3))
    sphere = around / np.linalg.norm(around, axis=1, keepdims=True)
    box = sphere / np.abs(sphere).max(axis=1, keepdims=True)
    ring = sphere * [1, 1, 0] / np.linalg.norm(sphere[:, :2], axis=1, keepdims=True)
    torus = ring + 0.3 * _unit(rng.standard_normal((shape[0], 2)), ring)
    surface = (sphere, box, torus)[number % 3] * rng.uniform(0.3, 1, 3)
    turned = surface @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return turned / np.abs(turned).max()


def _unit(plane: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Points of the unit circle in the plane that a ring's radius and its axis span."""
    circle = plane / np.linalg.norm(plane, axis=1, keepdims=True)
    return circle[:, :1] * ring + circle[:, 1:] * [0, 0, 1]
