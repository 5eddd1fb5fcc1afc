"""One tiny compiled bundle for all tests of the commands, and what they are called with."""

import hashlib

import numpy as np
import pytest

from perceiver_edge import convert


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """Twelve samples [16, 16, 3] in a .npy file: noise around colours, since a Perceiver averages pure noise away."""
    path = tmp_path_factory.mktemp("samples") / "samples.npy"
    random = np.random.default_rng(0)
    colours = random.uniform(-2, 2, (12, 1, 1, 3))
    np.save(path, (colours + random.uniform(-0.5, 0.5, (12, 16, 16, 3))).astype(np.float32))
    return path


@pytest.fixture(scope="session")
def tiny(samples):
    """The arguments that compile the tiny preset in seconds."""
    # The largest of a random model's logits leads by next to nothing, so int8 may well choose another.
    gate = ["--gate", "top1_agreement=0"]
    return ["--model", "tiny", "--calibration-data", str(samples), "--num-samples", "6", "--num-held-out", "6", *gate]


@pytest.fixture(scope="session")
def compiled(tiny, tmp_path_factory):
    """A bundle of tiny, all four artefacts; never to be changed."""
    folder = tmp_path_factory.mktemp("compiled") / "tiny"
    assert convert.main([*tiny, "--output", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def fingerprint():
    """Of all files of a folder: name to SHA-256."""

    def take(folder):
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return take
