"""benchmark measures a bundle here, in processes of their own, and reads what the phone's tool prints."""

import json
import subprocess
import sys

import pytest

from perceiver_edge import benchmark
from perceiver_edge.errors import BadInputError, NotRunError
from perceiver_edge.measure import android, profile

WITHOUT_TENSORFLOW = """
import sys
from perceiver_edge import benchmark
code = benchmark.main(sys.argv[1:])
print([name for name in ("tensorflow", "keras", "tf2onnx", "torch") if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""

# As LiteRT's documentation and its users show it; newer versions add the percentiles.
PRINTED = """\
STARTING!
Num threads: [4]
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
The input model file size (MB): 3.06409
Initialized session in 92.318ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613{warm}

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583{measured}

Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, Inference (avg): 1.45528e+05
Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.5
"""
FAKE_ADB = """\
#!{python}
import sys
if sys.argv[1] == "devices":
    print("List of devices attached\\n" + {listed!r})
elif "--graph=" in sys.argv[-1]:
    print({printed!r})
with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
"""


@pytest.fixture
def adb(tmp_path, monkeypatch):
    """Put a program named adb on the PATH that lists phones and prints what the tool would; returns its log."""

    def install(*phones):
        listed = "".join(f"{phone}\tdevice\n" for phone in phones)
        printed = PRINTED.format(warm="", measured="")
        program, log = tmp_path / "adb", tmp_path / "log"
        program.write_text(FAKE_ADB.format(python=sys.executable, listed=listed, printed=printed, log=str(log)))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return log

    return install


def test_every_artefact_is_measured_without_tensorflow_and_nothing_is_written(compiled, fingerprint):
    before = fingerprint(compiled)
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, compiled, "--json", "--quiet", "--threads", "1", "--profile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    result = json.loads(done.stdout)
    assert {(row["artefact"], row["engine"]) for row in result["rows"]} >= {
        (path.name, "litert" if path.suffix == ".tflite" else "onnxruntime") for path in compiled.glob("tiny_*")
    }
    for row in result["rows"]:
        assert 0 < row["p50_ms"] <= row["p90_ms"]
        assert row["load_ms"] > 0
        assert row["first_ms"] > 0
        if sys.platform == "linux":
            assert 1e5 < row["peak_bytes"] < 1e8  # the model's own, not the interpreter's and the engine's
    assert set(result["profiles"]) == {path.name for path in compiled.glob("*.onnx")}
    assert fingerprint(compiled) == before
    times = {time["operator"]: time for time in result["profiles"]["tiny_fp32.onnx"]}
    assert times["Softmax"]["calls"] == 4  # a cross-attend and a self-attend in each of two layers


def test_the_table_has_a_line_an_artefact(compiled, capsys):
    assert benchmark.main([str(compiled), "--quiet"]) == 0
    table = capsys.readouterr().out
    assert all(path.name in table for path in compiled.glob("tiny_*"))


def test_what_is_profiled_here_has_survived_elsewhere(compiled, monkeypatch, capsys):
    def require_survivable(content, *, where):
        raise BadInputError("The process of this model's engine gives no answer.", where=where)

    monkeypatch.setattr("perceiver_edge.runtime.isolated.require_survivable", require_survivable)
    monkeypatch.setattr("perceiver_edge.commands.benchmark.measure", lambda *_, **__: [])
    monkeypatch.setattr(profile, "onnx_profile", None)
    assert benchmark.main([str(compiled), "--quiet", "--profile"]) == 2
    assert "gives no answer" in capsys.readouterr().err


@pytest.mark.parametrize("feeds", [{}, {"input": [1.0]}])
def test_what_the_profiled_engine_says_is_bad_input(feeds, compiled):
    content = (compiled / "tiny_fp32.onnx").read_bytes()
    for model in (content, content[:-100]):
        with pytest.raises(BadInputError):
            profile.onnx_profile(model, feeds, threads=1)


def test_the_first_inference_is_no_part_of_a_profile():
    def kernel(kind, at, took):
        return {"cat": "Node", "name": f"{kind}_1_kernel_time", "ts": at, "dur": took, "args": {"op_name": kind}}

    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 10},
        kernel("Gemm", 1, 9_000),
        {"cat": "Session", "name": "model_run", "ts": 20, "dur": 10},
        kernel("Softmax", 21, 1_000),
        kernel("Gemm", 22, 3_000),
        {"cat": "Session", "name": "model_run", "ts": 40, "dur": 10},
        kernel("Softmax", 41, 1_000),
        kernel("Gemm", 42, 5_000),
    ]
    assert profile.summed(events) == (profile.OperatorTime("Gemm", 1, 4), profile.OperatorTime("Softmax", 1, 1))


@pytest.mark.parametrize(
    ("warm", "measured", "median_ms"),
    [("", "", None), (" p5=199462 median=200386 p95=235158", " p5=140545 median=141253 p95=187533", 141.253)],
)
def test_what_benchmark_model_prints_is_read(warm, measured, median_ms):
    assert android.parse(PRINTED.format(warm=warm, measured=measured)) == android.PhoneTimes(
        load_ms=92.318, first_ms=235.158, average_ms=145.528, median_ms=median_ms, peak_bytes=int(73.5 * 2**20)
    )


def test_output_without_timings_is_refused_with_its_last_line():
    with pytest.raises(BadInputError, match=r"got: +Benchmarking failed\."):
        android.parse("ERROR: Following operations are not supported\nBenchmarking failed.\n")


def test_without_adb_nothing_is_run_and_the_message_says_what_to_do(compiled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert benchmark.main([str(compiled), "--android", "benchmark_model", "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "did not run" in told
    assert "put adb on the PATH" in told


@pytest.mark.parametrize("phones", [(), ("one", "two")])
def test_no_phone_and_two_phones_are_not_one(phones, adb):
    adb(*phones)
    with pytest.raises(NotRunError, match=f"{len(phones)} connected"):
        android.require_phone()


def test_the_tflite_files_are_measured_on_the_phone(compiled, adb, tmp_path, capsys):
    log = adb("phone1")
    tool = tmp_path / "benchmark_model"
    tool.touch()
    command = [str(compiled), "--android", str(tool), "--threads", "3", "--json", "--quiet"]
    assert benchmark.main(command) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = sorted(path.name for path in compiled.glob("*.tflite"))
    assert [(row["artefact"], row["p50_ms"]) for row in rows] == [(name, 145.528) for name in names]
    ran = log.read_text()
    assert all(f"-s phone1 push {compiled / name}" in ran for name in names)
    assert ran.count("--num_threads=3") == len(names)
