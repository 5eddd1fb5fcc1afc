"""The digits, really run in every runtime that this machine can have; what it cannot have is skipped, and why."""

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from perceiver_edge import convert, verify
from perceiver_edge.devices import tflite_runtime
from perceiver_edge.devices.elsewhere import folder
from perceiver_edge.devices.runtimes import NATIVE, RUNTIMES
from perceiver_edge.errors import NotRunError

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mobile" / "arm64.sh"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    output = tmp_path_factory.mktemp("compiled") / "digits"
    assert convert.main(["--quantize", "int8", "--quiet", "--output", str(output)]) == 0
    return output


@pytest.fixture(scope="session")
def environments():
    """Made once, in the user's folder of devices, and kept there."""
    with contextlib.suppress(NotRunError):  # the row then is 'not run', and says the same
        if not (folder() / tflite_runtime.NAME).exists():
            tflite_runtime.make()
    if not (folder() / "arm64").exists():
        subprocess.run([SCRIPT], check=False)


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("runtime", [r.name for r in RUNTIMES if r.name not in NATIVE.values()])
def test_the_answers_are_those_of_this_processor(runtime, bundle, tmp_path, capsys):
    output = tmp_path / "devices.json"
    code = verify.main([str(bundle), "--runtimes", runtime, "--samples", "50", "--output", str(output), "--quiet"])
    rows = [row for row in json.loads(output.read_text())["rows"] if row["runtime"] == runtime]
    assert {row["precision"] for row in rows} == {"fp32", "int8"}
    if missing := [f"{row['reason']}; {row['fix']}" for row in rows if row["status"] == "not run" and row["fix"]]:
        pytest.skip(missing[0])
    assert code == 0, capsys.readouterr()
    for row in rows:
        assert row["native"]["metrics"]["cosine"] >= 0.999
        assert row["native"]["metrics"]["top1_agreement"] >= 0.99
