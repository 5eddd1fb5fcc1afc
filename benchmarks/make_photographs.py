"""Make a folder of photographs to calibrate and prove the README model with: crops of scikit-learn's two samples.

    python benchmarks/make_photographs.py FOLDER [--count 64] [--size 224] [--seed 0]

The same arguments always give the same pixels. Crops may overlap, so held-out ones are new pixels only in part. Needs
scikit-learn, which the extra ``torch`` brings. The photographs are "China" and "Flower" of
``sklearn.datasets.load_sample_images``, both under a Creative Commons Attribution licence.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK, BadInputError, MissingExtraError

_SMALLEST_CROP = 200
"""Of the originals' 427 × 640 pixels: smaller crops show little but texture."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/make_photographs.py", description="Make a folder of distinct photographs."
    )
    parser.add_argument("folder", type=Path, help="new or empty")
    parser.add_argument("--count", type=int, default=64, help="how many (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels a side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the crops (default: %(default)s)")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: make(arguments.folder, count=arguments.count, size=arguments.size, seed=arguments.seed))


def make(folder: Path, *, count: int, size: int, seed: int) -> int:
    from PIL import Image

    if count < 1 or size < 1 or seed < 0:
        raise BadInputError(
            "An option is out of range.", expected="count and size of at least 1, seed of at least 0",
            got=f"count {count}, size {size}, seed {seed}",
        )  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError("it is not empty")
        for number, crop in enumerate(crops(count, seed)):
            picture = Image.fromarray(crop).resize((size, size), Image.Resampling.BILINEAR)
            picture.save(folder / f"p{number:03d}.png")
    except OSError as error:
        raise BadInputError(
            "The folder cannot be used.", expected="a new or empty one", got=error, where=folder
        ) from error
    print(f"{count} photographs of {size} × {size} pixels in {folder}")
    return EXIT_OK


def crops(count: int, seed: int) -> Iterator[np.ndarray]:
    """Distinct square crops, uint8 ``[side, side, 3]``, of the two photographs in turns."""
    try:
        from sklearn.datasets import load_sample_images
    except ImportError:
        raise MissingExtraError("scikit-learn", "torch") from None
    photographs = load_sample_images().images
    rng = np.random.default_rng(seed)
    taken: set[tuple[int, ...]] = set()
    while len(taken) < count:
        which = len(taken) % len(photographs)
        height, width, _ = photographs[which].shape
        side = int(rng.integers(_SMALLEST_CROP, min(height, width)))
        top, left = int(rng.integers(height - side)), int(rng.integers(width - side))
        if (which, side, top, left) not in taken:
            taken.add((which, side, top, left))
            yield photographs[which][top : top + side, left : left + side]


if __name__ == "__main__":
    sys.exit(main())
