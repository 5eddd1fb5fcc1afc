"""Samples are copied when they are taken; those that repeat others are counted and said."""

import numpy as np
import pytest

from perceiver_edge.calibration import as_source, split

SHAPE = (4, 4, 1)


def images(count):
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("ring", [1, 2, 4])
def test_a_source_may_fill_its_own_buffers_again(ring):
    def samples():
        buffers = np.empty((ring, *SHAPE), np.float32)
        masks = np.empty((ring, *SHAPE[:-1]), bool)
        for index, image in enumerate(images(40)):
            buffers[index % ring], masks[index % ring] = image, image[..., 0] > 0
            yield {"input": buffers[index % ring], "mask": masks[index % ring]}

    calibrating, proving = split(as_source(samples, shape=SHAPE), num_calibration=20, num_held_out=20, seed=0)
    for part in (calibrating, proving):
        taken = list(part)
        assert len({sample["input"].tobytes() for sample in taken}) == len({s["mask"].tobytes() for s in taken}) == 20


def test_a_list_may_be_changed_by_its_owner_afterwards():
    given = images(4)
    taken = list(as_source(given, shape=SHAPE))
    given[:] = 0
    assert all(sample["input"].any() for sample in taken)


@pytest.mark.parametrize(("repeats", "says"), [(0, None), (1, "1 sample repeats another one"), (7, "7 samples repeat")])
def test_repeated_samples_are_counted(repeats, says):
    several = np.concatenate([images(10), images(10)[:repeats]])
    for part in split(as_source(several, shape=SHAPE), num_calibration=20, num_held_out=20, seed=0):
        assert (part.notices == ()) if says is None else (says in part.notices[0])
