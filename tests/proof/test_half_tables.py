"""Where a quantised file keeps tables in half precision, the model of its integers rounds the same tables."""

import numpy as np
import pytest

from perceiver_edge.calibration import ArraySource
from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.artefacts import Kind, build
from perceiver_edge.compiler.deployment import deploy
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.config import InputSpec, PerceiverConfig
from perceiver_edge.converters.half_constants import as_stored
from perceiver_edge.converters.points import constants_in
from perceiver_edge.proof.held_out import ask_reference
from perceiver_edge.proof.inside import look_inside

TOKENS = 1500
SHARPER = 60
CONFIG = PerceiverConfig(
    num_freq_bands=6, max_freq=700.0, depth=2, input_axis=1, input_channels=2, num_latents=16, latent_dim=32,
    cross_heads=1, latent_heads=2, cross_dim_head=16, latent_dim_head=16, num_classes=5,
)  # fmt: skip


@pytest.fixture(scope="module")
def sharp():
    """Most of the file is positions, and a row attends to few tokens: what a last bit of a position is worth, is seen.
    The deployment, and held-out samples."""
    spec = InputSpec(shape=(TOKENS,))
    weights = {
        name: SHARPER * weight if name.endswith("cross_attn.fn.to_q.weight") else weight
        for name, weight in init_weights(CONFIG, seed=0).items()
    }
    checkpoint = Checkpoint(config=CONFIG, input_spec=spec, weights=weights)
    model = NamedModel(name="sharp", checkpoint=checkpoint, input_spec=spec, is_random_weights=True, is_digits=False)
    samples = np.random.default_rng(0).standard_normal((4, TOKENS, 2)).astype(np.float32)
    source = ArraySource({"input": samples}, shape=model.sample_shape, description="noise")
    held_out = ask_reference(model.proven_against, source, with_mask=False, on_progress=lambda _: None)
    return deploy(model, batch=1, with_mask=False), held_out


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_layers_of_a_sharp_model_are_expected_as_the_file_computes_them(sharp, format_):
    deployment, held_out = sharp
    kind = Kind(format_, "dynamic")
    made = build(
        deployment.traced, (kind,), half_traced=deployment.half_traced, integer_form=None,
        product_inputs=dict, opset=18,
    )  # fmt: skip
    assert constants_in(made[kind], np.float16)

    def worst(told):
        expected = deployment.integer_model(None, dict, kind, told)
        return max(look_inside(made[kind], held_out, batch_size=1, expect=expected).own_errors.values())

    knowing, ignorant = worst(made[kind]), worst(b"")
    assert ignorant > 3 * knowing


def test_a_table_is_found_however_the_converter_turned_it():
    table = np.random.default_rng(0).standard_normal((50, 6))
    half = table.astype(np.float16)
    rounded = half.astype(np.float64)
    assert not (rounded == table).any()
    for stored in (half, half.T, np.repeat(half, 3, axis=0), np.concatenate([half, 0 * half + 9], axis=1)):
        assert (as_stored(table, [stored.reshape(-1)]) == rounded).all()
    for other in (half[1:], np.where(half == half[3, 3], np.nextafter(half, np.float16(9)), half)):
        assert as_stored(table, [other.reshape(-1)]) is table  # a fault of the file is no rounding
    assert as_stored(table, []) is table


def test_what_the_file_has_in_float32_is_not_rounded_because_a_table_has_its_numbers():
    random = np.random.default_rng(0)
    every = np.arange(1 << 15, dtype=np.uint16).view(np.float16)
    table = np.concatenate([every, -every])[np.isfinite(np.concatenate([every, every]))]
    bias, other = random.standard_normal((2, 64)).astype(np.float32)
    assert (as_stored(bias, [table]) != bias).any()  # by coincidence
    assert as_stored(bias, [table], [np.concatenate([bias, other])]) is bias
    assert (as_stored(bias, [table], [other]) != bias).any()
