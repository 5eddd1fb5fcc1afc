"""Remake ``digits.npz`` from scikit-learn's copy of the data: ``python -m perceiver_edge.data.make_digits``."""

import numpy as np
from numpy.typing import NDArray

from perceiver_edge.data import DIGITS_ARCHIVE, SPLITS
from perceiver_edge.errors import MissingExtraError

TEST_SIZE, CALIBRATION_SIZE = 360, 128
SEED = 0


def assign_splits(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """An index into `SPLITS` for each label [n], drawn so that every split holds the digits in equal shares."""
    # RandomState, because its streams are frozen for ever; those of Generator may change between NumPy versions.
    shuffled = np.random.RandomState(SEED).permutation(len(labels))
    rank_in_class = np.empty(len(labels), dtype=np.int64)
    for digit in np.unique(labels):
        members = shuffled[labels[shuffled] == digit]
        rank_in_class[members] = np.arange(len(members))
    # Deal the digits out in rounds, one of each a round: any run of the order is balanced.
    order = np.lexsort((labels, rank_in_class))
    split = np.full(len(labels), SPLITS.index("train"), dtype=np.uint8)
    split[order[:TEST_SIZE]] = SPLITS.index("test")
    split[order[TEST_SIZE : TEST_SIZE + CALIBRATION_SIZE]] = SPLITS.index("calibration")
    return split


def main() -> None:
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "torch") from error
    digits = datasets.load_digits()
    np.savez_compressed(
        DIGITS_ARCHIVE,
        images=digits.images.astype(np.uint8),
        labels=digits.target.astype(np.uint8),
        split=assign_splits(digits.target),
    )


if __name__ == "__main__":
    main()
