"""verify proves a good bundle anew without the compiler, and finds what is wrong with a bad one."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from perceiver_edge import verify
from perceiver_edge.bundle.manifest import FileRecord, Manifest
from perceiver_edge.devices.elsewhere import FOLDER_VARIABLE
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import Gates

WITHOUT_TENSORFLOW = """
import sys
from perceiver_edge import verify
code = verify.main(sys.argv[1:])
print([name for name in ("tensorflow", "keras", "tf2onnx", "torch") if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def bundle(compiled, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(compiled, tmp_path / "bundle")


def _replace(bundle, name, content):
    """Put other content in place, as someone would who also corrects the manifest."""
    path = bundle / "manifest.json"
    values = json.loads(path.read_text())
    record = FileRecord.of(content)
    listed = values["artefacts"] if name in values["artefacts"] else values["files"]
    listed[name] |= {"size_bytes": record.size_bytes, "sha256": record.sha256}
    path.write_bytes(Manifest.from_json(json.dumps(values).encode(), where=path).to_json())
    (bundle / name).write_bytes(content)


def test_a_good_bundle_passes_and_needs_no_tensorflow(bundle, fingerprint):
    before = fingerprint(bundle)
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, bundle, "--quiet", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    report = json.loads(done.stdout)
    assert report["passed"]
    assert [artefact["name"] for artefact in report["artefacts"]] == sorted(p.name for p in bundle.glob("tiny_*"))
    assert fingerprint(bundle) == before


def test_the_metrics_are_those_of_the_compilation(bundle, capsys):
    assert verify.main([str(bundle), "--quiet", "--json", "--threads", "1"]) == 0
    now, then = json.loads(capsys.readouterr().out), json.loads((bundle / "parity.json").read_text())
    errors_now, errors_then = (
        {artefact["name"]: artefact["judgement"]["metrics"]["relative_l2"] for artefact in report["artefacts"]}
        for report in (now, then)
    )
    assert errors_now == pytest.approx(errors_then, rel=0.2, abs=1e-6)


@pytest.mark.parametrize("name", ["tiny_int8.tflite", "held_out.npz", "parity.json", "calibration.json"])
def test_one_flipped_bit_is_found(name, bundle, capsys):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert f"error: {name} is damaged." in capsys.readouterr().err


def test_a_missing_file_is_found(bundle, capsys):
    (bundle / "tiny_fp32.onnx").unlink()
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert "error: tiny_fp32.onnx is missing." in capsys.readouterr().err


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_found(manifest, bundle, capsys):
    (bundle / "manifest.json").write_bytes(manifest)
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert "manifest.json" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b'{"artefacts": 3}', b"[" * 100_000])
def test_a_replaced_report_is_refused(content, bundle, capsys):
    _replace(bundle, "parity.json", content)
    assert verify.main([str(bundle), "--quiet"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")


def test_replaced_samples_are_refused(bundle, capsys):
    _replace(bundle, "held_out.npz", b"no archive")
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert "held_out.npz" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["input.input", "reference"])
def test_samples_that_do_not_belong_together_are_refused(name, bundle, capsys):
    with np.load(bundle / "held_out.npz") as archive:
        arrays = dict(archive)
    file = io.BytesIO()
    np.savez(file, **arrays | {name: arrays[name][:-1]})
    _replace(bundle, "held_out.npz", file.getvalue())
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert "not one number of rows" in capsys.readouterr().err


def test_no_bundle(tmp_path, capsys):
    for path in (tmp_path, tmp_path / "absent"):
        assert verify.main([str(path), "--quiet"]) == 2
        assert "error: There is no bundle here." in capsys.readouterr().err


def test_an_artefact_of_another_model_fails_the_gate_though_its_hash_is_right(bundle, tiny, tmp_path, capsys):
    from perceiver_edge import convert

    other = tmp_path / "other"
    assert convert.main([*tiny, "--seed", "1", "--only", "--formats", "onnx", "--output", str(other), "--quiet"]) == 0
    _replace(bundle, "tiny_int8.onnx", (other / "tiny_int8.onnx").read_bytes())
    capsys.readouterr()
    assert verify.main([str(bundle), "--quiet"]) == 1
    told = capsys.readouterr()
    assert "tiny_int8.onnx: error by layer" in told.out
    assert "error: 1 of 4 artefacts failed the parity gate" in told.err


def test_the_gates_are_this_versions_with_the_bounds_chosen_for_the_bundle(bundle, capsys):
    report = json.loads((bundle / "parity.json").read_text())
    for artefact in report["artefacts"]:
        for check in artefact["judgement"]["checks"]:
            check |= {"at_least": None, "at_most": 1e9}
    report["gate_overrides"] = {"top1_agreement": 0, "cosine": 0.5}
    _replace(bundle, "parity.json", json.dumps(report).encode())
    assert verify.main([str(bundle), "--quiet", "--json"]) == 0
    proven = {artefact["precision"]: artefact for artefact in json.loads(capsys.readouterr().out)["artefacts"]}
    bounds = {
        precision: {check["name"]: (check["at_least"], check["at_most"]) for check in artefact["judgement"]["checks"]}
        for precision, artefact in proven.items()
    }
    assert bounds["int8"]["cosine"] == (0.5, None)
    assert bounds["int8"]["relative_l2"] == (None, Gates.for_precision("int8").relative_l2)
    assert bounds["fp32"]["top1_agreement"] == (Gates.for_precision("fp32").top1_agreement, None)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_without_any_stderr(bundle):
    command = [
        "sh",
        "-c",
        'exec "$@" 2>&-',
        "sh",
        sys.executable,
        "-m",
        "perceiver_edge.verify",
        str(bundle),
        "--json",
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["passed"]


@pytest.fixture
def no_devices(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "devices"))
    monkeypatch.setattr("perceiver_edge.devices.x86._QEMU", "qemu-that-is-not-here")
    monkeypatch.setattr("perceiver_edge.demo.browser._BROWSERS", ("browser-that-is-not-here",))


@pytest.mark.usefixtures("no_devices")
def test_runtimes_that_are_not_here_are_said_and_the_others_run(bundle, tmp_path, fingerprint, capsys):
    before, output = fingerprint(bundle), tmp_path / "devices.json"
    command = [str(bundle), "--runtimes", "all", "--samples", "4", "--output", str(output), "--quiet"]
    assert verify.main(command) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "tflite-runtime did not run: a virtual environment with" in told
    assert "To run it: python3.11 -m perceiver_edge.devices.tflite_runtime" in told
    document = json.loads(output.read_text())
    assert document["num_samples"] == 4
    ran = {row["runtime"]: row["artefact"] for row in document["rows"] if row["status"] != "not run"}
    assert ran == {"litert": "tiny_int8.tflite", "onnxruntime": "tiny_int8.onnx"}
    assert fingerprint(bundle) == before


@pytest.mark.usefixtures("no_devices")
def test_a_runtimes_wrong_answer_is_a_failed_gate(bundle, tiny, tmp_path, capsys):
    from perceiver_edge import convert

    other = tmp_path / "other"
    assert convert.main([*tiny, "--seed", "1", "--only", "--formats", "onnx", "--output", str(other), "--quiet"]) == 0
    _replace(bundle, "tiny_int8.onnx", (other / "tiny_int8.onnx").read_bytes())
    capsys.readouterr()
    assert verify.main([str(bundle), "--quiet", "--runtimes", "onnxruntime", "--json"]) == 1
    told = capsys.readouterr()
    assert [row["reference"]["passed"] for row in json.loads(told.out)["rows"]] == [True, False]
    assert "error: 1 of 2 rows failed." in told.err
    assert "tiny_int8.onnx in onnxruntime" in told.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runtimes", "abacus"], "No such runtime."),
        (["--runtimes", "all", "--samples", "1"], "--samples is out of range"),
        (["--runtimes", "all", "--threads", "2"], "--threads does not go with --runtimes"),
        (["--output", "devices.json"], "--output and --samples go with --runtimes"),
    ],
)
def test_options_of_the_matrix_that_do_not_go(options, message, bundle, capsys):
    try:
        code = verify.main([str(bundle), "--quiet", *options])
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_threads_out_of_range(bundle, capsys):
    assert verify.main([str(bundle), "--quiet", "--threads", "0"]) == 2
    assert "threads is out of range" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_told_before_the_work(bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("perceiver_edge.devices.matrix.run_matrix", None)
    output = tmp_path / "missing" / "seen.json"
    assert verify.main([str(bundle), "--quiet", "--runtimes", "onnxruntime", "--output", str(output)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.usefixtures("no_devices")
@pytest.mark.parametrize("options", [[], ["--runtimes", "all"]])
def test_no_artefact_is_loaded_here_before_all_of_them_survive(options, bundle, capsys, monkeypatch):
    """The last in order, a float32 peer of others, is the one over which an engine would end this process."""
    survived, names = [], sorted(path.name for path in bundle.glob("tiny_*"))

    def require_survivable(content, *, where):
        survived.append(where)
        if len(survived) == len(names):
            raise BadInputError("The process of this model's engine gives no answer.", where=where)

    monkeypatch.setattr("perceiver_edge.runtime.isolated.require_survivable", require_survivable)
    for loads in ("proof.inside.look_inside", "proof.prove.prove", "devices.matrix.run_matrix"):
        monkeypatch.setattr(f"perceiver_edge.{loads}", None)
    assert verify.main([str(bundle), "--quiet", *options]) == 2
    assert "gives no answer" in capsys.readouterr().err
    assert sorted(survived) == names


@pytest.mark.parametrize("bound", ["at_most", "gate_overrides"])
def test_a_number_beyond_all_floats_in_a_report_is_refused(bound, bundle, capsys):
    report = json.loads((bundle / "parity.json").read_text())
    if bound == "gate_overrides":
        report[bound] = {"cosine": 10**400}
    else:
        report["artefacts"][0]["judgement"]["checks"][0][bound] = 10**400
    _replace(bundle, "parity.json", json.dumps(report).encode())
    assert verify.main([str(bundle), "--quiet"]) == 2
    assert "not a parity report" in capsys.readouterr().err
