"""A held-out set of a few numbers, and a bundle of a wide model."""

import numpy as np
import pytest

from perceiver_edge.proof.held_out import HeldOut


@pytest.fixture
def held_out():
    """Six samples of four numbers; the reference is the identity."""
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return HeldOut(inputs={"input": values}, reference=values, labels=None, source="noise", is_random=True)


@pytest.fixture(scope="session")
def wide_bundle(tmp_path_factory):
    """Of a wide model with random weights, whose cores run in int8: sums far from those of trained digits.

    In every precision. Its classes are close together by nature, so the choice of class is given more room.
    """
    keras = pytest.importorskip("keras")
    from perceiver_edge import Perceiver, compile

    keras.utils.set_random_seed(0)
    model = Perceiver(
        num_freq_bands=4, max_freq=16.0, depth=3, input_channels=1, num_latents=16, latent_dim=128, latent_heads=4,
        cross_dim_head=32, latent_dim_head=32, num_classes=10,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 3, (100, 1, 1, 1))
    samples = (rng.normal(size=(100, 16, 16, 1)) * scale).astype(np.float32)
    output = tmp_path_factory.mktemp("wide") / "wide"
    compile(
        model, samples=samples, input_shape=(16, 16), quantize=("int8", "dynamic", "fp16"), num_samples=40,
        num_held_out=60, output=output, gates={"top1_agreement": 0.9},
    )  # fmt: skip
    return output
