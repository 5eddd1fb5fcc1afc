"""What a user may rely on: shapes, sensitivity, training, dropout, masks, dtypes."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge import Perceiver, PerceiverConfig


def inputs_for(config, batch=2, shape=(4, 5), seed=0):
    return np.random.default_rng(seed).standard_normal((batch, *shape, config.input_channels), np.float32)


def test_the_readme_call_classifies_an_image():
    model = Perceiver(
        input_channels=3,
        input_axis=2,
        num_freq_bands=6,
        max_freq=10.0,
        depth=6,
        num_latents=256,
        latent_dim=512,
        cross_heads=1,
        latent_heads=8,
        cross_dim_head=64,
        latent_dim_head=64,
        num_classes=1000,
        attn_dropout=0.0,
        ff_dropout=0.0,
    )
    assert model(tf.random.uniform([1, 224, 224, 3])).shape == (1, 1000)


def test_constructor_takes_the_fields_of_the_config_with_their_defaults():
    parameters = dict(inspect.signature(Perceiver).parameters)
    del parameters["name"], parameters["dtype"]
    fields = {field.name: field.default for field in dataclasses.fields(PerceiverConfig)}
    missing = dataclasses.MISSING
    assert {n: missing if p.default is p.empty else p.default for n, p in parameters.items()} == fields


def test_every_sample_of_a_batch_gets_the_output_it_gets_alone(tiny_config):
    config = tiny_config()
    model, inputs = Perceiver(**config.to_dict()), inputs_for(config, batch=3)
    alone = np.concatenate([np.array(model(sample[None])) for sample in inputs])
    np.testing.assert_allclose(np.array(model(inputs)), alone, rtol=1e-5, atol=1e-6)


def test_one_model_takes_inputs_of_different_sizes(tiny_config):
    config = tiny_config()
    model = Perceiver(**config.to_dict())
    assert model(inputs_for(config, shape=(2, 9))).shape == model(inputs_for(config, shape=(7, 3))).shape == (2, 3)


def test_output_depends_on_every_token_of_the_input(tiny_config):
    config = tiny_config()
    model, inputs = Perceiver(**config.to_dict(), dtype="float64"), tf.constant(inputs_for(config), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = tf.reduce_sum(tf.square(model(inputs)))
    influence = np.abs(tape.gradient(output, inputs).numpy()).max(axis=-1)
    assert (influence > 1e-9).all()


def test_masked_tokens_have_no_influence(tiny_config):
    config = tiny_config()
    model, inputs = Perceiver(**config.to_dict()), inputs_for(config)
    mask = np.ones(inputs.shape[:-1], bool)
    mask[:, 1, 2:] = False
    changed = np.where(mask[..., None], inputs, 100.0).astype(np.float32)
    np.testing.assert_array_equal(np.array(model(inputs, mask=mask)), np.array(model(changed, mask=mask)))
    assert not np.allclose(np.array(model(inputs)), np.array(model(changed)))


def test_logarithmic_bands_encode_positions_as_powers_of_the_base(tiny_config):
    config = tiny_config(num_freq_bands=3, max_freq=8.0, freq_base=2.0, input_axis=1)
    bare = dataclasses.replace(config, fourier_encode_data=False, input_channels=config.context_channels)
    model, inputs = Perceiver(**config.to_dict()), inputs_for(config, shape=(5,))
    bare_model = Perceiver(**bare.to_dict())
    bare_model.load_named_weights(model.named_weights())

    positions = np.array([-1, -0.5, 0, 0.5, 1])[:, None]
    angles = np.pi * positions * [1, 2, 4]
    encoding = np.concatenate([np.sin(angles), np.cos(angles), positions], axis=1).astype(np.float32)
    encoded = np.concatenate([inputs, np.broadcast_to(encoding, (2, *encoding.shape))], axis=-1)

    np.testing.assert_allclose(np.array(model(inputs)), np.array(bare_model(encoded)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_gradient_reaches_every_weight(tied, tiny_config):
    config = tiny_config(depth=3, weight_tie_layers=tied)
    model = Perceiver(**config.to_dict())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(inputs_for(config), training=True)))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    without = [
        v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None or not np.abs(g).max()
    ]
    assert not without


def test_fit_lowers_the_loss(tiny_config):
    keras.utils.set_random_seed(0)
    config = tiny_config(depth=1, attn_dropout=0.1, ff_dropout=0.1)
    model = Perceiver(**config.to_dict())
    inputs = inputs_for(config, batch=32)
    labels = (inputs.mean(axis=(1, 2, 3)) > 0).astype("int32")
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )

    before = model.evaluate(inputs, labels, verbose=0)
    model.fit(inputs, labels, epochs=10, batch_size=16, verbose=0)

    assert model.evaluate(inputs, labels, verbose=0) < 0.7 * before


def test_a_masked_model_trains_inside_a_functional_model(tiny_config):
    config = tiny_config(depth=1)
    image, mask = keras.Input((4, 5, 3)), keras.Input((4, 5), dtype="bool")
    model = keras.Model([image, mask], Perceiver(**config.to_dict())(image, mask=mask))
    model.compile("adam", "mse", jit_compile=False)
    inputs = inputs_for(config)
    losses = model.fit([inputs, np.ones((2, 4, 5), bool)], np.zeros((2, 3)), epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("option", ["attn_dropout", "ff_dropout"])
def test_dropout_acts_in_training_only(option, tiny_config):
    config = tiny_config(**{option: 0.5})
    model, inputs = Perceiver(**config.to_dict()), inputs_for(config)
    without = Perceiver(**tiny_config().to_dict())
    without.load_named_weights(model.named_weights())

    np.testing.assert_array_equal(np.array(model(inputs)), np.array(without(inputs)))
    first, second = (np.array(model(inputs, training=True)) for _ in range(2))
    assert not np.allclose(first, second)


def test_a_seed_fixes_the_initial_weights(tiny_config):
    def weights():
        keras.utils.set_random_seed(5)
        return Perceiver(**tiny_config().to_dict()).named_weights()

    for (name, first), second in zip(weights().items(), weights().values(), strict=True):
        np.testing.assert_array_equal(first, second, err_msg=name)


def test_initial_weights_are_distributed_as_in_torch(tiny_config):
    weights = Perceiver(**tiny_config(num_latents=64, latent_dim=64).to_dict()).named_weights()
    for name in ("layers.0.cross_ff.fn.net.0.weight", "layers.0.cross_ff.fn.net.0.bias"):
        assert np.abs(weights[name]).max() == pytest.approx(1 / 8, rel=0.02)
        assert weights[name].std() == pytest.approx(1 / 8 / np.sqrt(3), rel=0.1)
    assert weights["latents"].std() == pytest.approx(1, rel=0.05)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own, when it saves
def test_keras_rebuilds_the_model_from_its_config_and_from_its_own_file(tmp_path, tiny_config):
    model = Perceiver(**tiny_config(freq_base=2.0).to_dict(), name="eye", dtype="float64")
    rebuilt = Perceiver.from_config(model.get_config())
    assert (rebuilt.config, rebuilt.name, rebuilt.dtype) == (model.config, "eye", "float64")

    model.save(tmp_path / "model.keras")
    inputs = inputs_for(model.config)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.array(loaded(inputs)), np.array(model(inputs)))
