"""The int8 digits models in fresh virtual environments that hold what a device has: numpy and one engine."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.data import load_digits
from perceiver_edge.runtime import load

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
DIGITS = 64

RUN = """
import json, sys
import numpy as np
from perceiver_edge.runtime import load

runner = load(sys.argv[1])
np.save(sys.argv[3], np.stack([runner(image) for image in np.load(sys.argv[2])]))
print(json.dumps({
    "engine": runner.engine,
    "numpy": int(np.__version__.split(".")[0]),
    "compilers": [name for name in ("tensorflow", "keras", "onnx", "torch") if name in sys.modules],
}))
"""


def _python(*arguments: object, cwd: Path, python: object = sys.executable) -> str:
    done = subprocess.run([str(python), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    output = folder / "digits"
    _python("-m", "perceiver_edge.convert", "--quantize", "int8", "--quiet", "--output", output, cwd=folder)
    return output


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    leftovers = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".*_cache", ".venv*")
    source = shutil.copytree(REPOSITORY, folder / "source", ignore=leftovers)
    _python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize(
    ("extra", "artefact"),
    [
        ("litert", "digits_int8.tflite"),
        ("tflite-runtime", "digits_int8.tflite"),
        ("onnxruntime", "digits_int8.onnx"),
    ],
)
def test_int8_digits_run_with_numpy_and_one_engine(extra, artefact, bundle, wheel, tmp_path):
    if extra == "tflite-runtime" and sys.version_info[:2] > (3, 11):
        pytest.skip("tflite-runtime 2.14 has no wheel for Python after 3.11")
    test = load_digits().test
    images, labels = test.images[:DIGITS], test.labels[:DIGITS]
    np.save(tmp_path / "images.npy", images)
    here = load(bundle / artefact)
    expected = np.stack([here(image) for image in images])

    _python("-m", "venv", "device", cwd=tmp_path)
    python = tmp_path / "device" / "bin" / "python"
    _python("-m", "pip", "install", "--quiet", f"{wheel}[{extra}]", cwd=tmp_path, python=python)
    installed = {
        package["name"].lower()
        for package in json.loads(_python("-m", "pip", "list", "--format=json", cwd=tmp_path, python=python))
    }
    assert not {name for name in installed if name.startswith(("tensorflow", "keras", "torch"))} | (
        installed & {"onnx", "tf2onnx"}
    )

    told = json.loads(
        _python("-c", RUN, bundle / artefact, "images.npy", "logits.npy", cwd=tmp_path, python=python).splitlines()[-1]
    )
    assert told["engine"] == extra.replace("-", "_")
    assert told["compilers"] == []
    assert extra != "tflite-runtime" or told["numpy"] == 1
    logits = np.load(tmp_path / "logits.npy")
    # An older engine may round an int8 product differently, so not to the last bit.
    assert np.linalg.norm(logits - expected) <= 0.02 * np.linalg.norm(expected)
    assert (logits.argmax(1) == labels).mean() >= 0.95
