"""Labels and the model's classes: which number is which class, and when folders are no classes."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import BadInputError

CONFIG, SPEC = PRESETS["tiny"]
NAMES = (*"cdefghij", "ant", "bee")


@pytest.fixture
def folder(tmp_path):
    """Ten folders with three pictures each."""
    random = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{name}{number}.png")
    return tmp_path / "data"


def prepared(samples, *, class_names=None, labels=None, **options):
    checkpoint = Checkpoint(
        config=CONFIG, input_spec=replace(SPEC), weights=init_weights(CONFIG, 0), class_names=class_names
    )
    return prepare(Options(checkpoint, samples=samples, labels=labels, num_samples=20, num_held_out=10, **options))


def right_classes(job):
    """The held-out samples' classes, and what they are called."""
    names = job.model.checkpoint.class_names
    return [names[label] for label in job.proving.labels], names


def test_as_many_folders_as_classes_are_the_classes(folder):
    job = prepared(folder)
    assert job.model.checkpoint.class_names == tuple(sorted(NAMES))
    keys = [job.proving.source.keys[index] for index in job.proving.digests]
    assert right_classes(job)[0] == [key.split("/")[0] for key in keys]


def test_folders_are_found_among_the_class_names_of_the_model(folder):
    job = prepared(folder, class_names=NAMES)
    found, names = right_classes(job)
    assert names == NAMES
    assert found == [job.proving.source.keys[index].split("/")[0] for index in job.proving.digests]


@pytest.mark.parametrize(
    ("class_names", "told"), [(tuple("0123456789"), "'ant' is not among"), (None, "there are 9, and the model has 10")]
)
def test_folders_that_are_no_classes_are_said_and_not_guessed(class_names, told, folder):
    if class_names is None:
        (folder / "bee").rename(folder / "ant" / "bee")
    job = prepared(folder, class_names=class_names)
    assert job.proving.labels is None
    assert job.model.checkpoint.class_names == class_names
    assert any(told in notice for notice in job.notices)


def test_a_file_of_pictures_and_labels(folder, tmp_path):
    lines = [f"{name}{number}.png,{name}" for name in reversed(NAMES) for number in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(["picture,label", *lines]))
    job = prepared(folder, labels=tmp_path / "labels.csv")
    found, names = right_classes(job)
    assert names == tuple(sorted(NAMES))
    assert found == [job.proving.source.keys[index].split("/")[0] for index in job.proving.digests]


def test_a_file_of_numbers_for_arrays(tmp_path):
    images = np.random.default_rng(0).normal(size=(30, 16, 16, 3)).astype(np.float32)
    labels = np.arange(30) % 10
    np.save(tmp_path / "labels.npy", labels)
    job = prepared(images, labels=tmp_path / "labels.npy")
    assert job.proving.labels.tolist() == [labels[index] for index in job.proving.digests]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0\n1\n", "expected: 30 labels"),
        ("ant0.png,ant\n", "A picture has no label"),
        ("\n".join(["unicorn"] * 30), "'unicorn'"),
        ("\n".join(["10"] * 30), "do not fit the model's classes"),
    ],
)
def test_labels_that_do_not_fit(text, told, folder, tmp_path):
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(BadInputError, match=told):
        prepared(folder, labels=tmp_path / "labels.txt")


def test_labels_without_samples():
    with pytest.raises(BadInputError, match="labels is for samples of your own"):
        prepare(Options("digits", labels="labels.txt"))


def test_fewer_samples_than_asked_for_is_said(folder):
    (notice,) = [n for n in prepared(folder, quantize="int8").notices if "fewer" in n] or [None]
    assert notice is None
    images = np.random.default_rng(0).normal(size=(7, 16, 16, 3)).astype(np.float32)
    job = prepared(images)
    told = "fewer samples than asked for (arrays): 5 instead of 20 to calibrate with, 2 instead of 10 to prove with"
    assert any(told in notice for notice in job.notices)
