"""Train a Perceiver on real pictures, to be measured: ``python benchmarks/train_fashion.py fashion DIR``.

    apt-get install dataset-fashion-mnist       # Fashion-MNIST, Zalando Research, Expat licence

DIR gets the model, and ``samples.npz``: pictures of the test split with their labels, for ``--calibration-data``.

The pictures have 28 × 28 pixels, and the model is deployed at 112 × 112 (12,544 tokens). Positions are Fourier features
of a place between -1 and 1, whatever the resolution: so it is trained at 28 × 28, which takes minutes on two cores, and
then for a few steps at 112 × 112, resampled bilinearly. The same seed gives the same weights on the same machine. The
test split is looked at once, to be reported.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

from perceiver_edge.checkpoints import Checkpoint, save_checkpoint
from perceiver_edge.config import InputSpec, PerceiverConfig

DATA = Path("/usr/share/datasets/fashion-mnist")
MEAN, STD = 0.2860, 0.3530  # of the training pictures
SMALL, LARGE = 28, 112
STEPS, STEPS_AT_LARGE, BATCH = 1_500, 20, 32
LEARNING_RATE, LEARNING_RATE_AT_LARGE = 2e-3, 2e-4
NUM_SAMPLES = 1_400
"""Of the test split that go into ``samples.npz``: 1,024 to judge with, the rest to calibrate with."""

_SHAPE = {
    "input_channels": 1, "input_axis": 2, "num_freq_bands": 8, "max_freq": 24.0, "num_classes": 10,
    "cross_dim_head": 64,
}  # fmt: skip
_WIDE = _SHAPE | {
    "num_latents": 128, "latent_dim": 256, "latent_heads": 8, "latent_dim_head": 32, "depth": 3,
    "weight_tie_layers": True,
}  # fmt: skip
CONFIGS = {
    "fashion": PerceiverConfig(
        num_latents=32, latent_dim=96, latent_heads=4, latent_dim_head=24, depth=2, cross_heads=1, **_SHAPE
    ),
    "fashion_wide": PerceiverConfig(cross_heads=1, **_WIDE),
    "fashion_wide_4_heads": PerceiverConfig(cross_heads=4, **_WIDE),
}
"""The wide ones have the sizes of real models. A step takes some twenty times as long: fewer will do (``--steps``)."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Train a Perceiver on Fashion-MNIST.")
    parser.add_argument("model", choices=CONFIGS)
    parser.add_argument("folder", type=Path, help="gets the model and samples.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"at {SMALL} × {SMALL} (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures a step (default: %(default)s)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    import keras
    import tensorflow as tf

    from perceiver_edge.model import Perceiver

    keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()
    config = CONFIGS[arguments.model]
    model = Perceiver(**config.to_dict())
    images, labels = split("train")
    rng = np.random.default_rng(arguments.seed)
    for size, steps, rate in ((SMALL, arguments.steps, LEARNING_RATE), (LARGE, STEPS_AT_LARGE, LEARNING_RATE_AT_LARGE)):
        warmup = max(steps // 20, 1)
        schedule = keras.optimizers.schedules.CosineDecay(0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup)
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.05, global_clipnorm=1.0)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
        model.compile(optimizer=optimizer, loss=loss, jit_compile=False)
        for step in range(steps):
            chosen = rng.integers(0, len(images), arguments.batch)
            mirrored = np.where(
                rng.random((arguments.batch, 1, 1, 1)) < 0.5, images[chosen], images[chosen][:, :, ::-1]
            )
            got = model.train_on_batch(resampled(mirrored, size), np.eye(10, dtype=np.float32)[labels[chosen]])
            if step % 100 == 0:
                print(f"{size} × {size}, step {step}: loss {float(np.ravel(got)[0]):.3f}", flush=True)

    spec = InputSpec(shape=(LARGE, LARGE))
    save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=model.named_weights()), arguments.folder)
    images, labels = split("test")
    chosen = np.random.default_rng(0).permutation(len(images))[:NUM_SAMPLES]
    np.savez(arguments.folder / "samples.npz", input=resampled(images[chosen], LARGE), labels=labels[chosen])
    answers = model.predict(images[:2000], batch_size=BATCH, verbose=0).argmax(-1)
    print(f"{(answers == labels[:2000]).mean():.2%} of 2,000 pictures of the test split at {SMALL} × {SMALL}")


def split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pictures ``[n, 28, 28, 1]`` float32, normalised, and labels ``[n]``; ``name`` is train or test."""
    prefix = {"train": "train", "test": "t10k"}[name]
    pixels = np.frombuffer(gzip.decompress((DATA / f"{prefix}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((DATA / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    images = pixels.reshape(-1, SMALL, SMALL, 1).astype(np.float32) / 255
    return (images - np.float32(MEAN)) / np.float32(STD), labels.astype(np.int64)


def resampled(images: np.ndarray, size: int) -> np.ndarray:
    """``[n, h, w, c]`` → ``[n, size, size, c]`` float32, bilinear, corners aligned."""
    for axis in (1, 2):
        at = np.linspace(0, images.shape[axis] - 1, size)
        low = np.minimum(at.astype(int), images.shape[axis] - 2)
        shape = [1] * images.ndim
        shape[axis] = size
        part = (at - low).reshape(shape)
        images = np.take(images, low, axis) * (1 - part) + np.take(images, low + 1, axis) * part
    return images.astype(np.float32)


if __name__ == "__main__":
    main()
