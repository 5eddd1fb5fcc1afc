"""What a terminal, a pipe or an old encoding can do to a command that is done."""

import os
import subprocess
import sys

import pytest

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
