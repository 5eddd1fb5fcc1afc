"""A model that lives in the user's program is compiled as what it computes, or refused."""

import keras
import numpy as np
import pytest

import perceiver_edge as pe
from perceiver_edge.bundle.evidence import read_held_out
from perceiver_edge.compiler.job import Options, prepare
from perceiver_edge.compiler.pipeline import run
from perceiver_edge.compiler.resolve import resolve_model
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.reference import Reference, keras_reference, require_same_function

SIZES = {
    "num_freq_bands": 2, "max_freq": 8.0, "depth": 1, "input_channels": 1, "num_latents": 8, "latent_dim": 32,
    "latent_heads": 2, "cross_dim_head": 16, "latent_dim_head": 16, "num_classes": 10,
}  # fmt: skip
SHAPE = (12, 12)


class Scaling(pe.Perceiver):
    def call(self, inputs, mask=None, training=None):
        return super().call(inputs / 255.0 - 0.5, mask=mask, training=training)


class WithSoftmax(pe.Perceiver):
    def call(self, inputs, mask=None, training=None):
        return keras.ops.softmax(super().call(inputs, mask=mask, training=training))


class Renamed(pe.Perceiver):
    """Computes what a Perceiver computes."""

    def call(self, inputs, mask=None, training=None):
        return super().call(inputs, mask=mask, training=training)


class TakesNoMask(pe.Perceiver):
    def call(self, inputs):
        return super().call(inputs)


class Flipping(keras.Model):
    """A model of the user's own around a Perceiver."""

    def __init__(self):
        super().__init__()
        self.backbone = pe.Perceiver(**SIZES)

    def call(self, inputs):
        return self.backbone(keras.ops.flip(inputs, axis=1))


def patched():
    model = pe.Perceiver(**SIZES)
    model.head.activation = keras.activations.tanh
    return model


def samples(count=20):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, *SHAPE, 1)).astype(np.float32) * random.uniform(
        0, 1, (count, 1, 1, 1)
    ).astype("f4")


def compiled(model, tmp_path):
    options = Options(
        model,
        quantize="none",
        samples=samples(),
        input_shape=SHAPE,
        formats=("onnx",),
        output=tmp_path / "b",
        cache=False,
    )
    return run(prepare(options))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scaling(**SIZES),
        lambda: WithSoftmax(**SIZES),
        Flipping,
        patched,
        lambda: keras.Sequential([keras.layers.Rescaling(1 / 255), pe.Perceiver(**SIZES)]),
        lambda: keras.Sequential([pe.Perceiver(**SIZES), keras.layers.Softmax()]),
    ],
    ids=["scales its input", "softmax behind", "wrapped", "patched layer", "Sequential before", "Sequential behind"],
)
def test_what_computes_more_than_its_perceiver_is_refused(make, tmp_path):
    keras.utils.set_random_seed(0)
    with pytest.raises(BadInputError, match="computes something else than a Perceiver with its weights"):
        compiled(make(), tmp_path)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "make",
    [lambda: pe.Perceiver(**SIZES), lambda: Renamed(**SIZES), lambda: keras.Sequential([pe.Perceiver(**SIZES)])],
    ids=["plain", "subclass", "Sequential"],
)
def test_what_computes_the_same_is_compiled_and_is_its_own_reference(make, tmp_path):
    keras.utils.set_random_seed(0)
    model = make()
    bundle = compiled(model, tmp_path)
    held_out = read_held_out(bundle)
    answered = np.concatenate([np.asarray(model(held_out.inputs["input"][i : i + 1])) for i in range(len(held_out))])
    np.testing.assert_array_equal(held_out.reference, answered)


def test_half_precision_is_proven_against_its_weights_in_float32(tmp_path):
    model = pe.Perceiver(**SIZES, dtype="mixed_bfloat16")
    named = resolve_model(model, input_shape=SHAPE)
    assert named.reference is not None and not named.reference.is_exact
    assert named.proven_against.cache_key == "keras"
    compiled(model, tmp_path)


def test_a_model_that_fails_is_named(tmp_path):
    with pytest.raises(BadInputError, match=r"TakesNoMask\) cannot be run"):
        compiled(TakesNoMask(**SIZES), tmp_path)


@pytest.mark.parametrize("model", [object(), keras.Sequential([keras.layers.Dense(3)]), lambda x: x])
def test_what_has_no_perceiver_is_no_model(model):
    with pytest.raises(BadInputError, match="This is not a model"):
        resolve_model(model, input_shape=SHAPE)


def test_two_perceivers_are_not_guessed_between():
    both = keras.Sequential([pe.Perceiver(**SIZES), pe.Perceiver(**SIZES)])
    with pytest.raises(BadInputError, match="several Perceivers"):
        resolve_model(both, input_shape=SHAPE)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda feeds: {"logits": 1}, "cannot be run"),
        (lambda feeds: np.zeros(10), "something else than a Perceiver does"),
        (lambda feeds: np.full((1, 10), np.nan), "not finite"),
        (lambda feeds: np.zeros((1, 3)), "computes something else"),
    ],
)
def test_answers_that_are_no_perceivers_are_refused(answer, says):
    named = resolve_model(pe.Perceiver(**SIZES), input_shape=SHAPE)
    reference = Reference(answer=answer, description="It")
    with pytest.raises(BadInputError, match=says):
        require_same_function(
            reference, keras_reference(named.checkpoint), [{"input": sample} for sample in samples(2)], where="here"
        )
