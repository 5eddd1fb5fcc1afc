"""The programs of a real bundle's card, run: each names the class that the bundle's own models choose."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perceiver_edge import load_bundle
from perceiver_edge.bundle.app_code import SIGNATURE
from perceiver_edge.calibration.images import ImageFolder
from perceiver_edge.demo.packages import default_node_modules

NODE_MODULES = default_node_modules()
"""Where the user's are: looked up before the tests get a cache folder of their own."""


def programs(folder, language):
    card = (folder / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def answered(compiled, tmp_path_factory):
    """The bundle with a picture in it, and the class of that picture."""
    folder = tmp_path_factory.mktemp("card") / "tiny"
    shutil.copytree(compiled, folder)
    rng = np.random.default_rng(3)
    pixels = np.clip(rng.uniform(0, 255, (1, 1, 3)) + rng.normal(0, 20, (40, 60, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    spec = load_bundle(compiled).manifest.input_spec
    pictures = ImageFolder(folder, shape=(16, 16, 3), image_mean=spec.mean, image_std=spec.std)
    sample = pictures[0]["input"]
    raw = np.rint(255 * (sample * spec.std[0] + spec.mean[0])).astype(np.uint8)
    (folder / "picture.raw").write_bytes(raw.tobytes())
    return folder, load_bundle(compiled).load("int8", "onnx").top(sample, 1)[0].name


def run(command, folder, **environment):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("number", range(4))
def test_python_names_the_class(answered, number):
    folder, name = answered
    printed = run([sys.executable, "-c", programs(folder, "python")[number]], folder)
    assert re.search(rf"^(class )?{name}\b", printed)


@pytest.mark.devices
def test_javascript_names_the_class(answered):
    if shutil.which("node") is None or not (NODE_MODULES / "onnxruntime-web").is_dir():
        pytest.skip("needs node and the demo's npm packages")
    folder, name = answered
    (program,) = programs(folder, "javascript")
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(NODE_MODULES)
    (folder / "answer.mjs").write_text(program)
    assert run(["node", "answer.mjs"], folder) == f"class {name}\n"


@pytest.mark.devices
def test_cpp_names_the_class(answered):
    """Headers: set ONNXRUNTIME_INCLUDE to their folder. The library is that of the Python package."""
    include = os.environ.get("ONNXRUNTIME_INCLUDE")
    if include is None or shutil.which("g++") is None:
        pytest.skip("needs g++, and ONNX Runtime's C++ headers in $ONNXRUNTIME_INCLUDE")
    import onnxruntime

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    folder, name = answered
    (program,) = programs(folder, "cpp")
    (folder / "answer.cpp").write_text(program)
    run(["g++", "-std=c++17", "-Wall", "-Werror", "answer.cpp", "-isystem", include, library, "-o", "answer"], folder)
    (folder / "libonnxruntime.so.1").symlink_to(library)  # the package has no link of its own
    assert run(["./answer"], folder, LD_LIBRARY_PATH=str(folder)) == f"class {name}\n"


def test_the_card_names_the_files_signature_inputs_and_outputs(compiled):
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_content=(compiled / "tiny_int8.tflite").read_bytes()).get_signature_list()
    manifest = json.loads((compiled / "manifest.json").read_text())["artefacts"]["tiny_int8.tflite"]
    (asked_for,) = manifest["inputs"]
    (given,) = manifest["outputs"]
    assert signatures == {SIGNATURE: {"inputs": [asked_for["name"]], "outputs": [given["name"]]}}
    card = (compiled / "README.md").read_text()
    assert f'signatureRunner(with: "{SIGNATURE}")' in card
    assert f'createInputBuffer("{asked_for["name"]}")' in card
    assert f'createOutputBuffer("{given["name"]}")' in card
    assert f"longArrayOf({', '.join(map(str, asked_for['shape']))})" in card
