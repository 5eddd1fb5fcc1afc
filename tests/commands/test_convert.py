"""What convert makes, with each of its options, and what it prints."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from perceiver_edge import convert
from perceiver_edge.bundle.folder import read_bundle
from perceiver_edge.bundle.report import warnings
from perceiver_edge.calibration.samples import sample_digest
from perceiver_edge.commands import show_bundle
from perceiver_edge.proof.parity import ParityReport
from perceiver_edge.runtime import load

THIS_RUN = {"report.html", "README.md", "latency.json"}
"""Files that tell of this machine's latency and so differ from run to run."""


@pytest.fixture
def make(tiny, tmp_path):
    """Compile tiny with further options; returns the bundle."""

    def run(*options, output=tmp_path / "out"):
        assert convert.main([*tiny, *map(str, options), "--output", str(output), "--quiet"]) == 0
        return read_bundle(output)

    return run


def test_by_default_both_formats_in_float_and_int8(compiled):
    manifest = read_bundle(compiled).manifest
    assert set(manifest.artefacts) == {f"tiny_{p}.{f}" for p in ("fp32", "int8") for f in ("tflite", "onnx")}
    assert set(manifest.files) == THIS_RUN | {"calibration.json", "parity.json", "held_out.npz"}
    assert {path.name for path in compiled.iterdir()} == {"manifest.json", *manifest.all_files()}
    assert manifest.is_random_weights


def test_two_runs_give_the_same_bytes(compiled, make):
    one, other = read_bundle(compiled), make("--no-cache")
    ours, theirs = one.manifest.all_files(), other.manifest.all_files()
    assert set(ours) == set(theirs)
    assert {name for name in ours if ours[name] != theirs[name]} <= THIS_RUN
    ours, theirs = (json.loads(bundle.manifest.to_json()) for bundle in (one, other))
    for manifest in (ours, theirs):
        for name in THIS_RUN:
            del manifest["files"][name]
    assert ours == theirs


def test_calibration_can_be_fed_back_and_edited(compiled, make, tmp_path):
    before = read_bundle(compiled)
    held_out = np.load(compiled / "held_out.npz")["input.input"]
    calibrated = json.loads(before.read("calibration.json"))["digests"]
    assert len(calibrated) == 6
    assert not {sample_digest({"input": sample}).hex() for sample in held_out} & set(calibrated)
    again = make("--calibration", compiled / "calibration.json", "--only")
    for name in ("tiny_int8.tflite", "tiny_int8.onnx", "calibration.json"):
        assert again.read(name) == before.read(name)
    values = json.loads(before.read("calibration.json"))
    first = next(iter(values["points"]))
    values["points"][first] = [2 * limit for limit in values["points"][first]]
    (tmp_path / "edited.json").write_text(json.dumps(values))
    edited = make("--calibration", tmp_path / "edited.json", "--only", output=tmp_path / "edited")
    assert all(edited.read(name) != before.read(name) for name in edited.manifest.artefacts)


@pytest.mark.parametrize(
    ("options", "files"),
    [
        (["--only", "--formats", "onnx"], {"tiny_int8.onnx"}),
        (["--quantize", "none", "--formats", "tflite"], {"tiny_fp32.tflite"}),
        (["--quantize", "fp16"], {f"tiny_{p}.{f}" for p in ("fp32", "fp16") for f in ("tflite", "onnx")}),
        (["--quantize", "dynamic", "--only"], {"tiny_dynamic.tflite", "tiny_dynamic.onnx"}),
        (
            ["--formats", "onnx", "tflite", "onnx", "--only", "--name", "my-1.0"],
            {"my-1.0_int8.onnx", "my-1.0_int8.tflite"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_just_the_artefacts_asked_for(options, files, make):
    bundle = make(*options)
    assert set(bundle.manifest.artefacts) == files
    assert ("calibration.json" in bundle.manifest.files) == any("int8" in name for name in files)


def test_batch_is_the_artefacts_first_dimension_and_changes_no_result(compiled, make):
    bundle = make("--batch", "4", "--only")  # six samples to prove with: the last batch is padded
    images = np.load(compiled / "held_out.npz")["input.input"][:4]
    for name in ("tiny_int8.tflite", "tiny_int8.onnx"):
        together = load(bundle.read(name))
        assert together.inputs["input"].shape == (4, 16, 16, 3)
        alone = load((compiled / name).read_bytes())
        np.testing.assert_allclose(together(images), [alone(image[None])[0] for image in images], rtol=1e-4, atol=1e-4)


def test_masks_reach_both_formats(make, samples, tmp_path):
    inputs = np.load(samples)
    masks = np.random.default_rng(1).random(inputs.shape[:-1]) < 0.5
    np.savez(tmp_path / "masked.npz", input=inputs, mask=masks)
    bundle = make("--mask", "--calibration-data", tmp_path / "masked.npz")
    held_out = np.load(bundle.path / "held_out.npz")
    masked = {"input": held_out["input.input"][:1], "mask": held_out["input.mask"][:1]}
    for name, artefact in bundle.manifest.artefacts.items():
        assert {(spec.name, spec.dtype) for spec in artefact.inputs} == {("input", "float32"), ("mask", "bool")}
        runner = load(bundle.read(name))
        assert np.abs(runner(masked) - runner(masked | {"mask": np.ones((1, 16, 16), bool)})).max() > 1e-3


def test_input_shape_overrides_the_models_own(make, tmp_path):
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).uniform(-1, 1, (6, 8, 24, 3)).astype(np.float32))
    bundle = make("--input-shape", "8x24", "--calibration-data", tmp_path / "wide.npy", "--only", "--formats", "tflite")
    assert bundle.manifest.input_spec.shape == (8, 24)
    assert bundle.manifest.artefacts["tiny_int8.tflite"].inputs[0].shape == (1, 8, 24, 3)


def test_overwrite_replaces_the_bundle(compiled, make, tmp_path):
    shutil.copytree(compiled, tmp_path / "out")
    bundle = make("--only", "--formats", "onnx", "--overwrite")
    assert {path.name for path in bundle.path.iterdir()} == {"manifest.json", *bundle.manifest.all_files()}
    assert "tiny_fp32.onnx" not in bundle.manifest.artefacts


def test_random_data_is_stamped_on_everything(tmp_path, capsys):
    out = tmp_path / "out"
    random = ["--model", "tiny", "--calibration-data", "random", "--num-samples", "4", "--num-held-out", "4"]
    gates = ["--gate", "sensitivity_max=2", "--gate", "centred_cosine=0"]  # noise hardly moves this model's output
    assert convert.main([*random, *gates, "--output", str(out), "--formats", "tflite", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "The weights are random" in told
    assert "Calibration used random data" in told
    assert "Parity was measured on random data" in told
    assert "Parity gates were changed" in told
    manifest = read_bundle(out).manifest
    report = ParityReport.from_dict(json.loads((out / "parity.json").read_text()))
    assert len(warnings(manifest, report)) == 4
    assert all(warning in " ".join(told.split()) for warning in warnings(manifest, report))
    assert manifest.is_random_weights
    assert manifest.calibration is not None
    assert manifest.calibration.is_random
    assert json.loads((out / "calibration.json").read_text())["is_random"]
    assert json.loads((out / "parity.json").read_text())["is_random_data"]
    for name in ("report.html", "README.md"):
        text = (out / name).read_text().lower()
        assert "random data" in text
        assert "random weights" in text or "weights are random" in text


@pytest.mark.parametrize(("columns", "has_errors"), [(80, False), (120, True)])
def test_the_table_fits_the_terminal(columns, has_errors, compiled, capsys, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(show_bundle, "result_console", lambda: Console(width=columns, highlight=False))
    show_bundle.show_bundle(read_bundle(compiled), as_json=False)
    told = capsys.readouterr().out
    assert all(f"{name} " in told for name in read_bundle(compiled).manifest.artefacts)  # not folded
    assert ("cosine" in told) == has_errors


def test_real_data_is_not_stamped(compiled, tiny, tmp_path, capsys):
    assert convert.main([*tiny, "--only", "--formats", "tflite", "--output", str(tmp_path / "out"), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "random data" not in told
    assert not read_bundle(tmp_path / "out").manifest.calibration.is_random


def test_a_failed_gate_publishes_nothing_and_says_where(compiled, tiny, tmp_path, capsys, fingerprint):
    old = shutil.copytree(compiled, tmp_path / "old")
    before = fingerprint(old)
    gated = [*tiny, "--gate", "relative_l2=0", "--formats", "onnx", "--quiet"]
    assert convert.main([*gated, "--output", str(old), "--overwrite"]) == 1
    told = capsys.readouterr()
    assert "tiny_int8.onnx: error by layer" in told.out
    assert told.out.count("enters here") == 1
    assert "error: 1 of 2 artefacts failed the parity gate; nothing was published." in told.err
    assert fingerprint(old) == before
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_failed_gate_is_valid_json_too(tiny, tmp_path, capsys):
    gated = [*tiny, "--gate", "cosine=1", "--only", "--formats", "onnx", "--quiet", "--json"]
    assert convert.main([*gated, "--output", str(tmp_path / "new")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["passed"]
    assert report["artefacts"][0]["layers"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_json", [False, True])
def test_a_dry_run_writes_nothing_and_says_why(is_json, tiny, tmp_path, capsys):
    out = tmp_path / "out"
    assert convert.main([*tiny, "--dry-run", "--output", str(out), *["--json"] * is_json]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert list(tmp_path.iterdir()) == []
    if is_json:
        plan = json.loads(told.out)
        assert plan["files"] == ["tiny_fp32.tflite", "tiny_int8.tflite", "tiny_fp32.onnx", "tiny_int8.onnx"]
        assert all(step["reason"] for step in plan["lowering"])
        assert plan["gates"]["int8"]["cosine"] == 0.99
    else:
        for words in ("Dry run", "random", "6 samples", "tiny_int8.onnx", "applies"):
            assert words in told.out


def test_a_dry_run_is_free_where_a_bundle_is_and_says_what_it_takes(compiled, tiny, capsys, fingerprint):
    before = fingerprint(compiled)
    assert convert.main([*tiny, "--dry-run", "--output", str(compiled)]) == 0
    assert "needs --overwrite" in capsys.readouterr().out.replace("\n", " ")
    assert fingerprint(compiled) == before


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_dry_run_refuses_the_folder_that_the_run_would_refuse(overwrite, tiny, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years")
    for dry_run in (["--dry-run"], []):
        assert convert.main([*tiny, *dry_run, *overwrite, "--output", str(tmp_path)]) == 2
        assert "is no bundle; it is never overwritten" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_json_is_all_of_stdout_and_quiet_leaves_stderr_empty(tiny, tmp_path):
    command = [
        sys.executable,
        "-m",
        "perceiver_edge.convert",
        *tiny,
        "--formats",
        "tflite",
        "--json",
        "--quiet",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["path"] == str(tmp_path / "build" / "tiny")
    assert told["parity"]["passed"]
    assert set(told["latency"]["artefacts"]) == set(told["manifest"]["artefacts"])


def test_progress_is_the_stages_and_nothing_else(tiny, tmp_path):
    command = [sys.executable, "-m", "perceiver_edge.convert", *tiny, "--only"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    stages = done.stderr.splitlines()
    assert stages
    assert all(re.fullmatch(r"✓ [\w ]+( \(cached\))? \d+\.\d s  [\d,]+ MB", line) for line in stages)
    assert "tiny_int8.tflite" in done.stdout
