"""The embedded digits: real, whole, disjoint, balanced, and upsampled as documented."""

import numpy as np
import pytest

from perceiver_edge.data import DIGITS_ARCHIVE, DIGITS_CHECKPOINT, Digits, load_digits, upsample


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


def test_sizes_dtypes_and_scale(digits: Digits) -> None:
    for split, size in ((digits.train, 1309), (digits.calibration, 128), (digits.test, 360)):
        assert split.images.shape == (size, 32, 32, 1)
        assert split.images.dtype == np.float32
        assert split.labels.shape == (size,)
        assert split.labels.dtype == np.int64
        assert (split.images.min(), split.images.max()) == (0.0, 1.0)


def test_the_splits_share_no_picture(digits: Digits) -> None:
    everything = np.concatenate([digits.train.images, digits.calibration.images, digits.test.images])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == 1797


def test_every_split_holds_the_digits_in_equal_shares(digits: Digits) -> None:
    for split in (digits.train, digits.calibration, digits.test):
        counts = np.bincount(split.labels, minlength=10)
        assert counts.max() - counts.min() <= 8  # the data itself holds 174 to 183 of each
    assert set(np.bincount(digits.test.labels)) == {36}


def test_the_archive_is_scikit_learns_data_split_by_the_committed_script() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    from perceiver_edge.data.make_digits import assign_splits

    source = sklearn_datasets.load_digits()
    with np.load(DIGITS_ARCHIVE) as archive:
        np.testing.assert_array_equal(archive["images"], source.images)
        np.testing.assert_array_equal(archive["labels"], source.target)
        np.testing.assert_array_equal(archive["split"], assign_splits(source.target))


def test_upsampling_keeps_a_constant_and_a_ramp() -> None:
    flat = np.full((1, 8, 8), 16, np.uint8)
    np.testing.assert_array_equal(upsample(flat, 32), np.ones((1, 32, 32, 1)))
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8), (1, 8, 8))
    row = upsample(ramp, 32)[0, 5, :, 0] * 16
    np.testing.assert_array_equal(np.diff(row[2:-2]), 0.25)  # linear between the outer pixel centres
    np.testing.assert_array_equal(row[[0, 1, -2, -1]], [0, 0, 7, 7])  # and repeated beyond them


def test_upsampling_treats_rows_and_columns_alike() -> None:
    images = np.random.default_rng(0).integers(0, 17, (3, 8, 8), np.uint8)
    np.testing.assert_array_equal(upsample(images.transpose(0, 2, 1), 32), upsample(images, 32).transpose(0, 2, 1, 3))


def test_credit_is_given_beside_the_data() -> None:
    credits = (DIGITS_ARCHIVE.parent / "CREDITS.md").read_text()
    for mention in ("Alpaydin", "Kaynak", "CC BY 4.0", "10.24432/C50P49"):
        assert mention in credits


def test_what_ships_is_small() -> None:
    assert DIGITS_ARCHIVE.stat().st_size < 100_000
    assert (DIGITS_CHECKPOINT / "model.safetensors").stat().st_size < 1_100_000
