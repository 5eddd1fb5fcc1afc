"""A library that is not installed is one message that names the extra, and never a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import PYPROJECT

from perceiver_edge import convert
from perceiver_edge.commands.libraries import COMPILER, VERIFIER

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
if sys.argv[1] == "tensorflow":
    from perceiver_edge import installation
    installation.distributions, installation.find_spec = list, lambda name: None
from perceiver_edge import convert, verify
command = {"convert": convert, "verify": verify}[sys.argv[2]]
sys.exit(command.main(sys.argv[3:]))
"""


def _run_without(library, *command, cwd):
    arguments = [sys.executable, "-c", WITHOUT, library, *map(str, command)]
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False)


def _assert_told(done, library, cwd, *, extra="convert"):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {library} is not installed.\n")
    assert f"pip install 'perceiver-edge[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(cwd.iterdir()) == []


@pytest.mark.parametrize("library", [*COMPILER, "rich"])
def test_convert(library, tiny, tmp_path):
    extra = "tensorflow" if library == "tensorflow" else "convert"
    _assert_told(_run_without(library, "convert", *tiny, cwd=tmp_path), library, tmp_path, extra=extra)


def test_convert_of_saved_weights(tmp_path):
    _assert_told(_run_without("safetensors", "convert", cwd=tmp_path), "safetensors", tmp_path)


@pytest.mark.parametrize("library", sorted({"rich"}.union(*VERIFIER.values())))
def test_verify(library, compiled, tmp_path):
    _assert_told(_run_without(library, "verify", compiled, cwd=tmp_path), library, tmp_path, extra="verify")


def test_a_bundle_of_tflite_models_is_verified_without_onnxruntime(tiny, tmp_path):
    bundle = tmp_path / "bundle"
    assert convert.main([*tiny, "--only", "--formats", "tflite", "--output", str(bundle), "--quiet"]) == 0
    done = _run_without("onnxruntime", "verify", bundle, "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_extra_that_verify_names_brings_what_verify_needs():
    verify = PYPROJECT["project"]["optional-dependencies"]["verify"]
    brought = {re.match(r"[\w-]+", item)[0].replace("-", "_") for item in verify}
    assert brought == {"rich", "shtab"}.union(*VERIFIER.values())


def test_what_the_converters_import_is_what_is_checked():
    """Every third-party package that an end-to-end run imports by name is in the list, or is checked where used."""
    import ast

    import perceiver_edge.converters
    import perceiver_edge.model

    checked_where_used = {"shtab", "numpy", "PIL", "safetensors", "rich", "selenium", "huggingface_hub"}
    used_where_installed = {"torch", "perceiver_pytorch", "transformers"}
    to_remake_the_data = {"sklearn"}
    only_for_types = {"typing_extensions"}
    imported = set()
    for package in (perceiver_edge, perceiver_edge.converters, perceiver_edge.model):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names.append(node.module)
                imported |= {name.partition(".")[0] for name in names}
    third_party = imported - set(sys.stdlib_module_names) - {"perceiver_edge", "markupsafe"}
    third_party -= checked_where_used | used_where_installed | to_remake_the_data | only_for_types
    assert third_party <= set(COMPILER)
