"""The oldest runtimes that the card names run what it says that they run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge import compile
from perceiver_edge.bundle.oldest_runtimes import OLDEST
from perceiver_edge.devices.elsewhere import folder, outputs_of
from perceiver_edge.proof.metrics import measure
from perceiver_edge.runtime import load

pytestmark = pytest.mark.devices

SAME_COSINE = 0.999
"""Kernels round products differently, by one step here and there."""

TENSORFLOW = """
import sys, numpy as np, tensorflow as tf
inputs = np.load(sys.argv[2])["input"]
interpreter = tf.lite.Interpreter(sys.argv[1])
interpreter.allocate_tensors()
(given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
answers = []
for sample in inputs:
    interpreter.set_tensor(given["index"], sample[np.newaxis])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(result["index"])[0])
np.save(sys.argv[3], np.stack(answers))
"""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, wide_bundle):
    """The digits, whose cores are float, and a wide model, whose cores are int8."""
    digits = tmp_path_factory.mktemp("bundles") / "digits"
    compile("digits", output=digits, quantize=("int8", "dynamic", "fp16"), num_held_out=24)
    return {"digits": digits, "wide": wide_bundle}


@pytest.fixture(scope="module", params=OLDEST, ids=lambda runtime: runtime.distribution)
def old(request):
    """(the runtime, its Python), in an environment that is made once and kept in the folder of devices."""
    runtime = request.param
    environment = folder() / "oldest" / runtime.distribution
    if not (environment / "bin" / "python").exists():
        python = _python(runtime.python)
        for command in (
            [python, "-m", "venv", str(environment)],
            [environment / "bin" / "python", "-m", "pip", "install", "-q", f"{runtime.distribution}=={runtime.version}",
             "numpy<2"],
        ):  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                shutil.rmtree(environment, ignore_errors=True)
                pytest.skip(f"{runtime.distribution} {runtime.version} does not install: {done.stderr[-200:]}")
    return runtime, environment / "bin" / "python"


def _python(version: str) -> str:
    found = shutil.which(f"python{version}")
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    if not found and not kept:
        pytest.skip(f"there is no Python {version}")
    return str(kept[-1] if kept else found)


@pytest.mark.parametrize("name", ["digits", "wide"])
def test_it_answers_as_the_newest_does(old, name, bundles, tmp_path):
    runtime, python = old
    with np.load(bundles[name] / "held_out.npz") as held_out:
        inputs = held_out["input.input"][:24]
    for precision in runtime.precisions:
        (file,) = bundles[name].glob(f"*_{precision}.{runtime.format}")
        got = _answers(python, runtime, file, inputs, tmp_path)
        measured = measure(load(file).batch({"input": inputs}), got, is_classifier=True)
        assert measured.cosine >= SAME_COSINE, (file.name, measured)


def _answers(python, runtime, file, inputs, tmp_path):
    if not runtime.distribution.startswith("tensorflow"):
        return outputs_of([str(python)], file.read_bytes(), {"input": inputs})
    np.savez(tmp_path / "inputs.npz", input=inputs)
    arguments = [str(file), str(tmp_path / "inputs.npz"), str(tmp_path / "output.npy")]
    subprocess.run([python, "-c", TENSORFLOW, *arguments], check=True, capture_output=True)
    return np.load(tmp_path / "output.npy")
