"""Samples of which the user says that the model was not trained on them prove alone, and are called so."""

import numpy as np
import pytest

from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.held_out import UNTRAINED, says_untrained


def images(count, seed):
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype(np.float32)


def job(samples, held_out_data, **options):
    return prepare(Options("tiny", samples=samples, held_out_data=held_out_data, **options), dry_run=True)


def contents(part):
    return {sample["input"].tobytes() for sample in part}


def test_one_calibrates_and_the_other_proves():
    theirs, apart = images(10, 0), images(6, 1)
    made = job(theirs, apart, num_samples=8)
    assert contents(made.calibrating) <= {image.tobytes() for image in theirs} and len(made.calibrating) == 8
    assert contents(made.proving) == {image.tobytes() for image in apart}
    assert made.proving.description.endswith(UNTRAINED) and says_untrained(made.proving.description)
    assert not says_untrained(made.calibrating.description)


def test_what_is_in_both_proves_nothing():
    theirs = images(10, 0)
    made = job(theirs, np.concatenate([theirs[:4], images(3, 1)]), num_samples=10)
    assert not contents(made.proving) & contents(made.calibrating) and len(made.proving) == 3
    with pytest.raises(BadInputError, match="too few samples to prove with"):
        job(theirs, theirs, num_samples=10)


def test_files_and_their_labels_are_taken(tmp_path):
    np.savez(tmp_path / "test.npz", input=images(5, 1), labels=np.arange(5))
    made = job(images(10, 0), str(tmp_path / "test.npz"), num_samples=4, num_held_out=4)
    assert len(made.proving) == 4 and made.proving.labels is not None
