"""ONNX Runtime 1.32 would tell its makers of each use, by a DNS query and a file: through this package it may not."""

import os
import shutil
import subprocess
import sys

import pytest

RUN = """
import sys, time
import numpy as np
from perceiver_edge.runtime import load
run = load(sys.argv[1])
run({name: np.zeros(spec.shape, spec.dtype) for name, spec in run.inputs.items()})
time.sleep(1)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_run_opens_no_connection_and_leaves_no_file(float_onnx, tmp_path):
    model, log, home = tmp_path / "model.onnx", tmp_path / "log", tmp_path / "home"
    model.write_bytes(float_onnx)
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY" and not k.startswith("XDG_")}
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=socket,connect,sendto,sendmsg,sendmmsg", "-o", str(log), sys.executable,
         "-c", RUN, str(model)],
        env={**environment, "HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr.lower():
        pytest.skip("nothing may be traced here")
    assert done.returncode == 0, done.stderr
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []
    assert [path.name for path in home.rglob("*") if path.is_file()] == []
