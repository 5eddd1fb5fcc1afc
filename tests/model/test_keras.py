"""A Perceiver where a Keras user expects a Keras model: saved, loaded, exported, summed up, adapted, wrapped."""

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import perceiver_edge as pe
from perceiver_edge import registration
from perceiver_edge.checkpoints import fit_weights
from perceiver_edge.compiler.import_check import compare_with_source
from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras.*")  # of NumPy's, where Keras saves

SIZES = {
    "num_freq_bands": 2, "max_freq": 8.0, "depth": 2, "input_channels": 1, "num_latents": 8, "latent_dim": 32,
    "latent_heads": 2, "cross_dim_head": 16, "latent_dim_head": 16, "num_classes": 10,
}  # fmt: skip
UNTOLD = {"cross_heads": 1, "latent_heads": 2, "max_freq": 8.0, "num_freq_bands": 2}
"""What the shapes of the weights do not tell."""


@pytest.fixture
def inputs():
    return np.random.default_rng(0).normal(size=(4, 12, 12, 1)).astype(np.float32)


@pytest.fixture
def model(inputs):
    keras.utils.set_random_seed(0)
    model = pe.Perceiver(**SIZES)
    model(inputs)
    return model


def checked(model, tmp_path, **options):
    """(the job, how its import was checked): all of `compile` until something is converted."""
    samples = np.random.default_rng(1).normal(size=(8, 12, 12, 1)).astype(np.float32)
    given = {"samples": samples, "num_samples": 4, "num_held_out": 4, "output": tmp_path / "out", **options}
    job = prepare(Options(model, quantize="none", **given))
    return job, compare_with_source(job)


def test_a_summary_has_shapes(model):
    lines = []
    model.summary(print_fn=lines.append, line_length=100)
    assert "(None, 8, 32)" in "\n".join(lines)
    assert "?" not in "\n".join(lines)


def test_export_and_saved_models_answer_the_same(model, inputs, tmp_path):
    expected = np.asarray(model(inputs))
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(exported.serve(inputs), expected, rtol=1e-5, atol=1e-6)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    saved = tf.saved_model.load(tmp_path / "saved")
    (answer,) = saved.signatures["serving_default"](tf.constant(inputs)).values()
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)


def test_tensorflows_own_converter_takes_it(model, inputs):
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    np.testing.assert_allclose(load(content)(inputs[:1]), np.asarray(model(inputs[:1])), rtol=1e-4, atol=1e-5)


IMPORTS = ("perceiver_edge, keras", "keras, perceiver_edge", "perceiver_edge, tensorflow as tf")


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_file_is_loaded_after_a_plain_import(imports, model, tmp_path):
    model.save(tmp_path / "model.keras")
    library = "tf.keras" if "tf" in imports else "keras"
    program = f"import {imports}\nprint(type({library}.models.load_model('model.keras')).__module__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "perceiver_edge.model.perceiver", done.stderr[-500:]


def test_a_plain_import_brings_no_keras():
    program = "import sys, perceiver_edge; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_where_keras_runs_on_something_else_it_is_left_alone(monkeypatch):
    imported = []
    monkeypatch.setattr(registration.importlib, "import_module", imported.append)
    for backend in ("jax", "torch", "tensorflow"):
        other = SimpleNamespace(backend=SimpleNamespace(backend=lambda backend=backend: backend))
        monkeypatch.setitem(sys.modules, "keras", other)
        registration.register_with_keras()
    assert imported == ["perceiver_edge.model"]


class TestLora:
    def test_it_is_merged(self, model, inputs):
        layer = model.blocks[0].cross_attn.to_q
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.random.default_rng(0).normal(size=layer.lora_kernel_b.shape))
        merged = pe.Perceiver(**SIZES)
        merged.load_named_weights(model.named_weights())
        np.testing.assert_allclose(merged(inputs), model(inputs), rtol=1e-4, atol=1e-5)

    def test_weights_are_not_loaded_into_it(self, model):
        weights = model.named_weights()
        model.blocks[0].cross_attn.to_q.enable_lora(2)
        with pytest.raises(BadInputError, match="load the weights first, then call enable_lora"):
            model.load_named_weights(weights)


class TestModelOption:
    def test_a_model_that_was_called_tells_its_input_shape(self, model, tmp_path):
        job, source = checked(model, tmp_path)
        assert job.model.sample_shape == (12, 12, 1)
        assert source.relative_l2 < 1e-5

    def test_a_keras_file(self, model, tmp_path):
        model.save(tmp_path / "digits.keras")
        job, source = checked(tmp_path / "digits.keras", tmp_path)
        assert (job.model.name, job.model.sample_shape) == ("digits", (12, 12, 1))
        assert source.relative_l2 < 1e-5

    def test_a_sequential_model_that_reshapes(self, tmp_path):
        layers = [keras.Input((144,)), keras.layers.Reshape((12, 12, 1)), pe.Perceiver(**SIZES)]
        model = keras.Sequential(layers)
        model.save(tmp_path / "flat.keras")
        for given in (model, tmp_path / "flat.keras"):
            job, source = checked(given, tmp_path)
            assert job.model.sample_shape == (12, 12, 1)
            assert source.relative_l2 < 1e-5

    def test_one_that_rescales_is_refused_with_what_to_do(self, tmp_path):
        layers = [keras.Input((12, 12, 1)), keras.layers.Rescaling(1 / 255), pe.Perceiver(**SIZES)]
        with pytest.raises(BadInputError, match=r"something else(.|\n)*already scaled"):
            checked(keras.Sequential(layers), tmp_path)

    @pytest.mark.parametrize("way", ["export", "save"])
    def test_a_saved_model_with_attention_residuals(self, way, tmp_path):
        model, folder = pe.Perceiver(**SIZES, attn_residual=True, attn_residual_rank=3), tmp_path / "saved"
        model(np.zeros((1, 12, 12, 1), "f4"))
        model.export(folder, verbose=False) if way == "export" else tf.saved_model.save(model, str(folder))
        job, source = checked(folder, tmp_path, config=UNTOLD)
        assert job.model.checkpoint.config == model.config
        assert source.relative_l2 < 1e-5

    @pytest.mark.parametrize("way", ["export", "save"])
    def test_a_saved_model(self, way, model, tmp_path):
        folder = tmp_path / "saved"
        model.export(folder, verbose=False) if way == "export" else tf.saved_model.save(model, str(folder))
        with pytest.raises(BadInputError, match=r"cross_heads: cross_heads × cross_dim_head is 16"):
            checked(folder, tmp_path)
        job, source = checked(folder, tmp_path, config=UNTOLD)
        assert job.model.checkpoint.config == replace(model.config)
        assert job.model.sample_shape == (12, 12, 1)
        weights = fit_weights(model.config, model.named_weights())
        assert job.model.checkpoint.fingerprint == replace(job.model.checkpoint, weights=weights).fingerprint
        assert source.compared_with == "The SavedModel saved"
        with pytest.raises(BadInputError, match="computes something else"):
            checked(folder, tmp_path, config={**UNTOLD, "max_freq": 9.0})

    def test_a_saved_model_of_another_kind(self, tmp_path):
        other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        other.export(tmp_path / "other", verbose=False)
        with pytest.raises(BadInputError, match="no Perceiver of perceiver_edge in the SavedModel"):
            checked(tmp_path / "other", tmp_path)
        (tmp_path / "other" / "saved_model.pb").write_bytes(b"x" * 99)
        with pytest.raises(BadInputError, match="SavedModel cannot be loaded"):
            checked(tmp_path / "other", tmp_path)

    def test_a_damaged_keras_file(self, model, tmp_path):
        import zipfile

        model.save(tmp_path / "a.keras")
        with zipfile.ZipFile(tmp_path / "b.keras", "w") as damaged:
            damaged.writestr("config.json", "{}")
            damaged.writestr("model.weights.h5", b"")
        with pytest.raises(BadInputError, match="model of Keras cannot be loaded"):
            checked(tmp_path / "b.keras", tmp_path)


def test_without_eager_execution_it_says_what_to_do():
    program = (
        "import tensorflow as tf\ntf.compat.v1.disable_eager_execution()\nimport perceiver_edge\n"
        "try:\n    perceiver_edge.Perceiver\nexcept perceiver_edge.PerceiverEdgeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "leave out tf.compat.v1.disable_eager_execution()" in done.stdout, done.stderr[-500:]
