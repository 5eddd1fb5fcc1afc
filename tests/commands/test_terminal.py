"""What a terminal, a pipe or an old encoding can do to a command that is done."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver_edge.commands import streams
from perceiver_edge.commands.convert import main

DRY_RUN = [sys.executable, "-m", "perceiver_edge.convert", "--dry-run"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_our_signs_fails_nothing(encoding, tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    result = subprocess.run(DRY_RUN, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert b"digits_int8.tflite" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_pass_and_fail_look_different_in_every_encoding(encoding):
    script = (
        "import sys\nfrom perceiver_edge.commands.streams import patient_streams\n"
        "with patient_streams():\n    print('✓ | ✗ | 2.87× | Zoë 日'); print('✗', file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    passed, failed, faster, name = done.stdout.decode(encoding).strip().split(" | ")
    assert (passed, failed) == (("✓", "✗") if encoding == "utf-8" else ("ok", "NO"))
    assert done.stderr.decode(encoding).strip() == failed
    assert faster == ("2.87×" if encoding in ("utf-8", "cp1252") else "2.87x")
    assert name == {"utf-8": "Zoë 日", "ascii": "Zo? ?"}.get(encoding, "Zoë ?")


def test_a_reader_that_stops_early_is_no_error(tmp_path):
    command = f"{' '.join(DRY_RUN)} --json | head -c 20"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0
    assert b"Traceback" not in result.stderr
    assert len(result.stdout) == 20


@pytest.mark.parametrize("options", [["--quantize", "none"], ["--calibration", "any.json"]])
def test_a_method_where_no_ranges_are_observed_is_refused_not_dropped(options, capsys):
    assert main(["--method", "mse", *options]) == 2
    assert "--method" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed):
    program = "import os; from perceiver_edge.commands.cli import run; os._exit(run(lambda: os.open(os.devnull, 0)))"
    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program], check=False)
    assert done.returncode > 2


FULL = Path("/dev/full")
needs_a_full_disk = pytest.mark.skipif(not FULL.exists(), reason="only Linux has a file that is always full")


@needs_a_full_disk
@pytest.mark.parametrize(
    "command",
    [
        ["convert", "--help"],
        ["--version"],
        ["--print-completion", "bash"],
        ["inspect", "perceiver_edge/data/nothing.onnx"],
    ],
    ids=" ".join,
)
def test_results_that_a_full_disk_does_not_take_are_an_error_like_any_other(command):
    with FULL.open("w") as full:
        run = [sys.executable, "-m", "perceiver_edge", *command]
        done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert ("standard output" in done.stderr) == (command[0] != "inspect")


@needs_a_full_disk
def test_messages_that_a_full_disk_does_not_take_change_no_exit_code():
    program = """
from perceiver_edge.commands.cli import run
from perceiver_edge.errors import GateError
def fail():
    raise GateError("Too far off.")
raise SystemExit(run(fail))
"""
    with FULL.open("w") as full:
        assert subprocess.run([sys.executable, "-c", program], stderr=full, check=False).returncode == 1


@needs_a_full_disk
def test_the_streams_are_as_they_were_after_a_full_disk(monkeypatch):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(streams.BadInputError, match="standard output"), streams.patient_streams():
            print("result")
        assert sys.stdout is full


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal that is none")
def test_a_windows_console_gets_characters_not_bytes(monkeypatch):
    ours, its = os.openpty()
    monkeypatch.setattr(streams.sys, "platform", "win32")
    with io.TextIOWrapper(io.FileIO(its, "w")) as console:
        assert streams._patient(console) is console
    os.close(ours)
