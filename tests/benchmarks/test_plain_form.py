"""The comparison with the usual converters, end to end on the smallest model, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import perceiver_edge

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "plain_form.py"
PEERS = {
    ("litert", "fp32"), ("litert", "dynamic"), ("litert", "int8"),
    ("onnxruntime", "fp32"), ("onnxruntime", "dynamic"), ("onnxruntime", "int8"),
}  # fmt: skip
OURS = {("litert", "fp32"), ("litert", "int8"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")}

pytestmark = pytest.mark.slow


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``bundle`` and ``result.json``, with the peers below ``build``."""
    folder = tmp_path_factory.mktemp("plain_form")
    perceiver_edge.compile("tiny", samples="random", output=folder / "bundle")
    done = run(folder / "bundle", "--quick", "--output", folder / "result.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_every_peer_and_every_artefact_of_the_bundle_is_measured(result):
    measured = {True: set(), False: set()}
    for row in result["rows"]:
        measured[row["is_ours"]].add((row["engine"], row["precision"]))
        assert len(row["samples_ms"]) == result["rounds"]
    assert measured == {True: OURS, False: PEERS}


def test_the_peers_have_the_bundles_weights(result):
    assert all(row["relative_l2"] < 1e-5 for row in result["rows"] if row["precision"] == "fp32")
    assert all(0 < row["relative_l2"] < 0.5 for row in result["rows"] if row["precision"] != "fp32")


def test_speedup_is_over_the_plain_float32_of_the_same_engine(result):
    assert [row["speedup"] for row in result["rows"] if row["precision"] == "fp32" and not row["is_ours"]] == [1, 1]


def test_a_second_run_only_measures(folder):
    before = {path: path.stat().st_mtime_ns for path in (folder / "build").rglob("plain_*.*") if path.suffix != ".log"}
    assert len([path for path in before if path.suffix in {".tflite", ".onnx"}]) == len(PEERS)
    done = run(folder / "bundle", "--quick", "--output", folder / "again.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_the_table_and_the_picture_show_every_row(folder, result):
    table = run("--table", folder / "result.json", cwd=folder).stdout
    picture = (folder / "result.svg").read_text()
    for row in result["rows"]:
        assert row["made_by"] in table
        assert row["made_by"] in picture


def test_other_weights_than_the_bundles_are_refused(folder):
    done = run(folder / "bundle", "--seed", "1", "--output", folder / "refused.json", cwd=folder)
    assert (done.returncode, "not the one that the bundle was made from" in done.stderr) == (2, True)
    assert not (folder / "refused.json").exists()


def test_other_samples_than_the_bundles_are_refused(folder):
    import numpy as np
    from PIL import Image

    (folder / "others").mkdir()
    for number in range(16):
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(folder / "others" / f"{number}.png")
    done = run(folder / "bundle", "--photos", folder / "others", cwd=folder)
    assert (done.returncode, "not the samples that the bundle was made with" in done.stderr) == (2, True)


def test_a_calibration_with_other_samples_than_those_found_is_refused(folder):
    import hashlib
    import shutil

    bundle = shutil.copytree(folder / "bundle", folder / "elsewhere")
    calibration = json.loads((bundle / "calibration.json").read_text())
    calibration["digests"][0] = "00" * 16
    content = json.dumps(calibration).encode()
    (bundle / "calibration.json").write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    record = {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"]["calibration.json"] = record
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = run(bundle, "--quick", cwd=folder)
    assert (done.returncode, "not the samples that the bundle was made with" in done.stderr) == (2, True)


def test_a_table_of_something_else_is_refused(folder):
    done = run("--table", folder / "bundle" / "parity.json", cwd=folder)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
