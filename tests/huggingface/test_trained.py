"""Trained Perceivers of transformers' architectures: what eight bits cost is counted in right answers.

`golden/trained.py` has the models and what they never saw: digits by Fourier features and by a convolution, kinds of
texts, and masked bytes. Two have masks, one a query for each byte.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import perceiver_edge

GOLDEN = Path(__file__).parents[1] / "golden" / "trained.py"

ACCURACY = {"digits_fourier": 0.830, "digits_conv": 0.994, "snippets": 0.724, "masked_bytes": 354 / 1369}
"""What transformers 5.24 answers with these weights, of the part that is held out."""

MOST_LOST = 0.005
"""Of right answers, by int8: half a point. It is 5 of 1,000 samples, and 6 of the 1,369 masked bytes."""

MOST_DIFFERENT = 0.001
"""Of right answers, by float32: one or two near ties."""


def _load():
    spec = importlib.util.spec_from_file_location("golden_trained", GOLDEN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


trained = _load()


@pytest.fixture(scope="module", params=trained.NAMES)
def compiled(request, tmp_path_factory):
    """(its name, a bundle of float32 and int8 models, proven on other samples, the 1,000 that count)."""
    seen, held_out = trained.parts(request.param)
    shape = {"input_shape": held_out.inputs["input"].shape[1:3]} if request.param in trained.PICTURE_SIZES else {}
    bundle = perceiver_edge.compile(
        trained.folder(request.param), samples=dict(seen[:128].inputs), num_samples=96, num_held_out=32, **shape,
        output=tmp_path_factory.mktemp("trained") / request.param,
    )  # fmt: skip
    return request.param, bundle, held_out


def test_eight_bits_lose_no_accuracy(compiled):
    name, bundle, held_out = compiled
    asked = int((held_out.labels != trained.NO_LABEL).sum())
    assert asked >= 1_000
    right = {
        (format_, precision): num_right(bundle.load(precision, format_), held_out) / asked
        for format_ in ("tflite", "onnx")
        for precision in ("fp32", "int8")
    }
    for format_ in ("tflite", "onnx"):
        assert abs(right[format_, "fp32"] - ACCURACY[name]) <= MOST_DIFFERENT + 1e-9
        assert right[format_, "int8"] >= right[format_, "fp32"] - MOST_LOST


def num_right(run, held_out):
    feeds = [{name: values[i : i + 1] for name, values in held_out.inputs.items()} for i in range(len(held_out.labels))]
    logits = np.concatenate([run(feed) for feed in feeds])
    return trained.num_right(logits, held_out.labels)
