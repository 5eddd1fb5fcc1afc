"""What an import costs: nothing heavy before it is needed, and no generic name in site-packages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import perceiver_edge

HEAVY = (
    "tensorflow",
    "keras",
    "tf2onnx",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "ai_edge_litert",
    "ai_edge_quantizer",
    "torch",
)

PACKAGE = Path(perceiver_edge.__file__).parent
COMMANDS = sorted(
    ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__main__")
    for pattern in ("*.py", "*/__main__.py")
    for file in PACKAGE.glob(pattern)
    if re.search(r'^if __name__ == "__main__":', file.read_text(), re.MULTILINE)
)

REPORT = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"


def run(code, *, cwd):
    """Run code in a fresh interpreter; its output but for the last line, and the heavy libraries it imported."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, cwd=cwd, check=True
    )
    assert done.stderr == ""
    *output, heavy = done.stdout.splitlines()
    return "\n".join(output), json.loads(heavy)


@pytest.mark.parametrize(
    "code",
    [
        "import perceiver_edge",
        "from perceiver_edge import PerceiverConfig, PerceiverEdgeError",
        "import perceiver_edge.lowering",
        "import perceiver_edge.calibration",
        "import perceiver_edge.runtime",
    ],
)
def test_importing_loads_nothing_heavy(code, tmp_path):
    assert run(code, cwd=tmp_path) == ("", [])


def test_the_commands_are_found():
    assert {"perceiver_edge", "perceiver_edge.convert", "perceiver_edge.demo"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command, tmp_path):
    code = f"""
import runpy, sys
sys.argv = ["command", "--help"]
try:
    runpy.run_module("{command}", run_name="__main__", alter_sys=True)
except SystemExit as exit:
    assert not exit.code, exit.code
"""
    output, heavy = run(code, cwd=tmp_path)
    called = "perceiver-edge" if command == "perceiver_edge" else f"python -m {command}"
    assert output.startswith(f"usage: {called}")
    assert heavy == []


def test_a_heavy_import_would_be_seen(tmp_path):
    """Guards the tests above."""
    assert run("import onnx", cwd=tmp_path) == ("", ["onnx"])


@pytest.mark.parametrize("folder", ["converters", "calibration", "runtime"])
def test_the_folders_of_the_repository_are_no_packages_of_their_own(folder, tmp_path):
    """They are importable inside the package alone; a user may well have a `runtime` of their own."""
    names = (folder, f"perceiver_edge.{folder}")
    code = f"from importlib.util import find_spec; print(*(find_spec(name) is None for name in {names}))"
    assert run(code, cwd=tmp_path)[0].split() == ["True", "False"]
