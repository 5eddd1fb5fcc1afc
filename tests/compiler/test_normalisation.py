"""What a pixel becomes is declared, checked, said and done, wherever the declaration comes from."""

import dataclasses
import json

import numpy as np
import pytest

from perceiver_edge.bundle.pictures import UNDECLARED, pixels_become
from perceiver_edge.checkpoints import Checkpoint, init_weights, save_checkpoint
from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.compiler.resolve import resolve_model
from perceiver_edge.config import PRESETS, InputSpec
from perceiver_edge.errors import BadInputError

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def model(tmp_path):
    """Writes tiny with these keys beside its configuration."""

    def write(**said):
        config, _ = PRESETS["tiny"]
        weights = init_weights(config, 0)
        save_checkpoint(Checkpoint(config=config, input_spec=None, weights=weights), tmp_path / "model")
        path = tmp_path / "model/config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | said))
        return tmp_path / "model"

    return write


@pytest.fixture
def pictures(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(6):
        pixels = random.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pictures/{index}.png")
    return tmp_path / "pictures"


def job(model, pictures, **options):
    return prepare(
        Options(model, samples=str(pictures), num_samples=2, num_held_out=2, quantize="none", **options), dry_run=True
    )


def test_the_declared_normalisation_holds_when_the_shape_comes_from_the_command(model, pictures):
    folder = model(image_mean=[0.5, 0.4, 0.3], image_std=0.25, resize="squash")
    prepared = job(folder, pictures, input_shape=(8, 8))
    assert prepared.model.input_spec == InputSpec(
        shape=(8, 8), image_mean=(0.5, 0.4, 0.3), image_std=(0.25,), resize="squash"
    )
    picture = np.asarray(Image.open(pictures / "0.png").resize((8, 8), Image.Resampling.BILINEAR)) / 255
    (index,) = (i for i, path in enumerate(sorted(pictures.iterdir())) if path.name == "0.png")
    np.testing.assert_allclose(prepared.proving.source[index]["input"], (picture - [0.5, 0.4, 0.3]) / 0.25, atol=1e-5)
    assert not prepared.notices


def test_the_command_overrides_the_file(model, pictures):
    folder = model(input_shape=[8, 8], image_mean=0.5, image_std=0.5)
    spec = job(folder, pictures, image_mean=(0.0,), image_std=(1.0,), resize="shortest").model.input_spec
    assert (spec.mean, spec.std, spec.resize) == ((0.0,), (1.0,), "shortest")


def test_pictures_without_a_declaration_are_said(model, pictures):
    prepared = job(model(), pictures, input_shape=(8, 8))
    assert prepared.notices == (UNDECLARED,)
    # What was done is what the card tells people to do.
    assert "pixel / 255." in pixels_become(prepared.model.checkpoint.config, prepared.model.input_spec)


@pytest.mark.parametrize(
    "normalisation", [{"image_mean": 0}, {"image_std": 1}, {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}]
)
def test_declaring_that_nothing_is_done_is_a_declaration(model, pictures, normalisation):
    assert not job(model(**normalisation), pictures, input_shape=(8, 8)).notices


@pytest.mark.parametrize(
    ("mean", "std", "says"),
    [
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], "0.485, 0.456, 0.406"),
        ([0.485, 0.456, 0.406], [58.395, 57.12, 57.375], "0.229, 0.224, 0.225"),
        ([127.5], [0.5], "divide it by 255: 0.5"),
    ],
)
def test_what_is_of_pixels_up_to_255_is_refused_with_what_it_should_be(model, pictures, mean, std, says):
    with pytest.raises(BadInputError, match=says):
        job(model(image_mean=mean, image_std=std), pictures, input_shape=(8, 8))
    with pytest.raises(BadInputError, match=says):
        job(model(), pictures, input_shape=(8, 8), image_mean=tuple(mean), image_std=tuple(std))


@pytest.mark.parametrize(
    "options",
    [
        {"image_mean": (0.1, 0.2)}, {"image_std": (0.0,)}, {"image_std": ()}, {"image_mean": [0.5]}, {"resize": "fit"},
        {"image_mean": ("a",)},
    ],
)  # fmt: skip
def test_other_normalisations_are_refused(model, pictures, options):
    with pytest.raises(BadInputError):
        job(model(), pictures, input_shape=(8, 8), **options)


@pytest.mark.parametrize("shape", [(10**12, 10**12), (10**9,), (100_001, 1000), (True, 8)], ids=str)
def test_an_input_beyond_any_memory_is_refused(shape):
    with pytest.raises(BadInputError, match="input shape is not usable"):
        InputSpec(shape=shape)


def test_what_was_said_is_written_and_nothing_else():
    assert InputSpec(shape=(4, 4)).to_dict() == {"input_shape": [4, 4]}
    spec = InputSpec(shape=(4, 4), image_mean=(0.0,), resize="squash")
    assert spec.to_dict() == {"input_shape": [4, 4], "image_mean": [0.0], "resize": "squash"}


def test_one_sentence_for_a_picture_and_none_for_what_is_no_picture():
    named = resolve_model("tiny")
    sentence = pixels_become(named.checkpoint.config, named.input_spec)
    assert sentence == (
        "A picture is scaled to cover 16 × 16 and cropped about the centre; a pixel from 0 to 255 becomes "
        "(pixel / 255 - 0.5) / 0.5."
    )
    audio = resolve_model("audio")
    assert pixels_become(audio.checkpoint.config, dataclasses.replace(audio.input_spec, image_mean=(0.5,))) is None
