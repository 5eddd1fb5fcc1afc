"""What cannot be compiled is told in one message, exit code 2, before the long work; a bundle there stays whole."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from perceiver_edge import convert
from perceiver_edge.config import PRESETS


@pytest.fixture
def refused(capsys, monkeypatch):
    """Run convert; it must refuse before TensorFlow is needed, and say why on stderr only. Returns the message."""

    def too_late():
        pytest.fail("the long work had begun")

    monkeypatch.setattr("perceiver_edge.commands.libraries.import_tensorflow", too_late)

    def run(*arguments):
        assert convert.main(list(map(str, arguments))) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("error: ")
        assert "Traceback" not in told.err
        return told.err

    return run


@pytest.fixture
def model_folder(tmp_path):
    """The tiny preset as a folder, to be damaged."""
    from perceiver_edge.checkpoints import Checkpoint, init_weights, save_checkpoint

    config, spec = PRESETS["tiny"]
    folder = tmp_path / "mine"
    save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0)), folder)
    return folder


def _edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "nothing-like-it"], "There is no such model"),
        (["--model", "tiny"], "no embedded data"),
        (["--model", "tiny", "--name", "digits"], "no embedded data"),
        (["--input-shape", "16,16"], "A sample has the wrong shape"),
        (["--input-shape", "32"], "the sizes of 2 input axes"),
        (["--input-shape", "0,4"], "--input-shape is not usable"),
        (["--opset", "17"], "18 to 20"),
        (["--opset", "21"], "18 to 20"),
        (["--batch", "0"], "--batch is not usable"),
        (["--threads", "0"], "--threads is not usable"),
        (["--seed", "-1"], "--seed is not usable"),
        (["--num-samples", "0"], "--num-samples is not usable"),
        (["--num-held-out", "1"], "at least 2"),
        (["--name", "a/b"], "cannot be used for files"),
        (["--name", ".."], "cannot be used for files"),
        (["--name", "nul"], "cannot be used for files"),
        (["--name", "model."], "cannot be used for files"),
        (["--gate", "cosine=nan"], "finite number"),
        (["--gate", "cosine=2"], "at most 1"),
        (["--gate", "beauty=1"], "Unknown parity gate"),
        (["--gate", "sensitivity_min=1.5"], "No sensitivity ratio"),
        (["--only", "--quantize", "none"], "--only is not usable"),
        (["--mask"], "do not agree on a mask"),
        (["--sequence-length", "0"], "--sequence-length is not usable"),
        (["--sequence-length", "-3"], "--sequence-length is not usable"),
        (["--sequence-length", "8", "--input-shape", "8,8"], "no input_shape beside it"),
        (["--sequence-length", "8"], "the sizes of 2 input axes"),
        (["--positions", "3"], "for Perceivers of Hugging Face transformers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_are_not_usable(arguments, told, refused, tmp_path):
    assert told in refused(*arguments, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--quantize", "int4"], "did you mean int8?"),
        (["--formats", "coreml"], "is not one of tflite, onnx"),
        (["--batch", "two"], "invalid int value"),
        (["--input-shape", "a,b"], "such as 224,224"),
        *(
            (["--positions=" + text], "such as 5,20-35")
            for text in ("", "a", "1,", "1.5", "-1", "5-", "5-3", "1-2-3", "0-99999999999", "1 2")
        ),
        *((["--sequence-length", text], "invalid int value") for text in ("", "long", "8,8", "1e3")),
        (["--gate", "cosine"], "NAME=BOUND"),
        (["--gate", "cosine=high"], "NAME=BOUND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_argparse_does_not_know(arguments, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        convert.main(arguments)
    error, usage = capsys.readouterr().err.splitlines()
    assert told in error
    assert usage.startswith("usage: python -m perceiver_edge.convert")


def _truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _poison(folder, value):
    weights = load_file(folder / "model.safetensors")
    weights["layers.1.cross_attn.fn.to_q.weight"][0, 0] = value
    save_file(weights, folder / "model.safetensors")


def test_a_folder_with_the_name_of_a_preset_is_not_passed_over(model_folder, samples, refused, monkeypatch):
    folder = model_folder.rename(model_folder.with_name("tiny"))
    monkeypatch.chdir(folder.parent)
    assert "write ./tiny for the folder" in refused("--model", "tiny", "--calibration-data", samples)
    (folder / "model.safetensors").unlink()  # so that the folder can be told from the preset
    assert "model.safetensors" in refused("--model", "./tiny", "--calibration-data", samples)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_truncate, ["The weights are damaged", "model.safetensors"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["model.safetensors"]),
        (lambda folder: (folder / "config.json").write_text("{"), ["The configuration is not readable", "config.json"]),
        (lambda folder: _edit_config(folder, depth=3), ["Weights are missing", "layers.2."]),
        (lambda folder: _edit_config(folder, depth=1), ["no place for", "layers.1."]),
        (lambda folder: _edit_config(folder, num_classes=7), ["to_logits.2.weight has the wrong shape", "(7, 32)"]),
        (lambda folder: _edit_config(folder, attention="flash"), ["keys that a Perceiver does not have", "attention"]),
        (lambda folder: _poison(folder, np.nan), ["layers.1.cross_attn.fn.to_q.weight holds NaN", "1 of"]),
        (lambda folder: _poison(folder, np.inf), ["layers.1.cross_attn.fn.to_q.weight holds NaN or inf", "1 of"]),
    ],
    ids=["truncated", "no weights", "no JSON", "too deep", "too shallow", "classes", "unknown key", "NaN", "inf"],
)
def test_models_that_are_damaged(damage, told, model_folder, samples, refused):
    damage(model_folder)
    message = refused("--model", model_folder, "--calibration-data", samples)
    for words in told:
        assert words in message


def _with(value):
    array = np.zeros((4, 16, 16, 3), np.float32) + np.arange(4, dtype=np.float32)[:, None, None, None]
    array[2, 5, 5, 1] = value
    return array


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (_with(np.nan), ["not finite", "NaN", "sample 2", "input 'input'"]),
        (_with(-np.inf), ["not finite", "infinity", "sample 2", "input 'input'"]),
        (np.zeros((4, 16, 8, 3), np.float32), ["wrong shape", "[4, 16, 16, 3]", "[4, 16, 8, 3]"]),
        (np.zeros((4, 3, 16, 16), np.float32), ["wrong shape", "channels last"]),
        (np.zeros((16, 16, 3), np.float32), ["wrong shape"]),
        (np.zeros((4, 16, 16, 3), np.uint8), ["wrong dtype", "uint8"]),
        (np.zeros((0, 16, 16, 3), np.float32), ["no samples"]),
        (np.zeros((4, 16, 16, 3), np.float32), ["too few samples", "with the same content"]),
        (_with(0)[:2], ["too few samples to prove with"]),
    ],
    ids=["NaN", "inf", "width", "channels first", "rank", "uint8", "empty", "all equal", "two"],
)
def test_samples_that_are_not_usable(array, told, refused, tmp_path):
    np.save(tmp_path / "bad.npy", array)
    message = refused("--model", "tiny", "--calibration-data", tmp_path / "bad.npy", "--output", tmp_path / "out")
    for words in told:
        assert words in message
    assert "bad.npy" in message


def test_sources_that_hold_nothing(refused, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "broken.npy").write_bytes(b"no array")
    for data, told in {
        tmp_path / "pictures": "There are no pictures",
        tmp_path / "broken.npy": "cannot be read",
        tmp_path / "absent.npz": "which does not exist",
        "absent.module:function": "cannot be imported",
    }.items():
        assert told in refused("--model", "tiny", "--calibration-data", data)


def test_a_damaged_picture_is_found_before_the_long_work(refused, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"no picture %d" % number)
    assert ".png" in refused("--model", "tiny", "--calibration-data", tmp_path, "--num-samples", 64)


def test_masks_must_be_asked_for(samples, refused, tmp_path):
    inputs = np.load(samples)
    np.savez(tmp_path / "masked.npz", input=inputs, mask=np.ones(inputs.shape[:-1], bool))
    assert "pass --mask" in refused("--model", "tiny", "--calibration-data", tmp_path / "masked.npz")


@pytest.mark.parametrize("label", [99, 10, -1])
def test_labels_that_no_class_has(label, samples, refused, tmp_path):
    labels = np.arange(12) % 10
    labels[-1] = label
    np.savez(tmp_path / "labelled.npz", input=np.load(samples), labels=labels)
    told = refused("--model", "tiny", "--calibration-data", tmp_path / "labelled.npz", "--output", tmp_path / "out")
    assert "The labels do not fit the model's classes" in told
    assert f"got:      {label}\n" in told


def test_labels_for_a_model_without_classes(samples, refused, tmp_path):
    from perceiver_edge.checkpoints import Checkpoint, init_weights, save_checkpoint

    config, spec = PRESETS["tiny"]
    config = dataclasses.replace(config, final_classifier_head=False)
    save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0)), tmp_path / "headless")
    np.savez(tmp_path / "labelled.npz", input=np.load(samples), labels=np.arange(12) % 10)
    told = refused("--model", tmp_path / "headless", "--calibration-data", tmp_path / "labelled.npz")
    assert "Only a classifier has an accuracy" in told


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text[: len(text) // 2], "not readable"),
        (lambda text: text.replace('"minmax"', "3"), "'method' in the calibration file is of the wrong type"),
        (lambda text: text.replace(": [", ": [1e9, ", 1), "is not usable"),
        (lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'), "made for another model"),
    ],
    ids=["half", "type", "three limits", "another model"],
)
def test_calibrations_that_are_not_usable(edit, told, compiled, tiny, refused, tmp_path):  # noqa: PLR0917
    path = tmp_path / "calibration.json"
    path.write_text(edit((compiled / "calibration.json").read_text()))
    assert told in refused(*tiny, "--calibration", path, "--output", tmp_path / "out")


def test_a_calibration_needs_int8(compiled, tiny, refused):
    told = refused(*tiny, "--calibration", compiled / "calibration.json", "--quantize", "none")
    assert "--calibration is not usable" in told


def test_a_calibration_without_a_point_is_refused(compiled, tiny, tmp_path, capsys):
    values = json.loads((compiled / "calibration.json").read_text())
    removed = list(values["points"])[1]
    del values["points"][removed]
    (tmp_path / "calibration.json").write_text(json.dumps(values))
    arguments = ["--calibration", str(tmp_path / "calibration.json"), "--output", str(tmp_path / "out"), "--quiet"]
    assert convert.main([*tiny, *arguments]) == 2
    assert f"no {removed}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_existing_bundle_is_kept(compiled, tiny, refused, fingerprint):
    before = fingerprint(compiled)
    assert "pass --overwrite" in refused(*tiny, "--output", compiled)
    assert fingerprint(compiled) == before


def test_a_folder_that_is_no_bundle_is_never_overwritten(tiny, refused, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "is no bundle" in refused(*tiny, "--output", tmp_path, "--overwrite")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_files_that_are_not_the_bundles_are_never_deleted(compiled, tiny, refused, tmp_path):
    bundle = shutil.copytree(compiled, tmp_path / "bundle")
    (bundle / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(*tiny, "--output", bundle, "--overwrite")
    assert (bundle / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way(tiny, refused, tmp_path):
    (tmp_path / "file").write_text("here")
    assert "The output is a file" in refused(*tiny, "--output", tmp_path / "file", "--overwrite")
    assert "cannot be written" in refused(*tiny, "--output", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system where even root cannot write")
def test_an_output_that_cannot_be_written(tiny, refused):
    assert "The output cannot be written" in refused(*tiny, "--output", "/proc/bundle")
