"""A model of a batch stores what is the same for all items once."""

import numpy as np

import perceiver_edge as pe


def test_a_batch_adds_no_constants_for_each_item(tmp_path):
    colours = np.random.default_rng(0).uniform(-2, 2, (16, 1, 1, 3))
    samples = (colours + np.random.default_rng(1).normal(size=(16, 64, 64, 3))).astype(np.float32)
    sizes = {}
    for batch in (1, 4):
        bundle = pe.compile(
            "tiny", samples=samples, input_shape=(64, 64), batch=batch, formats=("onnx",),
            output=tmp_path / str(batch), num_samples=8, num_held_out=8, cache=False, gates={"top1_agreement": 0.0},
        )  # fmt: skip
        sizes[batch] = {a.precision: a.size_bytes for a in bundle.manifest.artefacts.values()}
    for precision, one in sizes[1].items():
        assert sizes[4][precision] < 1.05 * one
