"""One small bundle for all that is done to its files."""

import numpy as np
import pytest

from perceiver_edge import convert


@pytest.fixture(scope="session")
def tiny_command(tmp_path_factory):
    """The arguments that compile the tiny preset in seconds."""
    path = tmp_path_factory.mktemp("samples") / "samples.npy"
    random = np.random.default_rng(0)
    np.save(path, random.uniform(-2, 2, (12, 16, 16, 3)).astype(np.float32))
    gates = ["--gate", "top1_agreement=0", "--gate", "sensitivity_max=9", "--gate", "sensitivity_min=0"]
    gates += ["--gate", "centred_cosine=-1"]
    return ["--model", "tiny", "--calibration-data", str(path), "--num-samples", "6", "--num-held-out", "6", *gates]


@pytest.fixture(scope="session")
def tiny_bundle(tiny_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    assert convert.main([*tiny_command, "--output", str(folder), "--quiet"]) == 0
    return folder
