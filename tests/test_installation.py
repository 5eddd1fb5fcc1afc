"""Which TensorFlow is there: none, one, two over each other, half of one, too old, or impossible."""

import os
import subprocess
import sys

import pytest

from perceiver_edge import installation
from perceiver_edge.errors import BadInputError, MissingExtraError

RECORD = "{0}-{1}.dist-info/RECORD,,\n{2},,\n"
CARRIES = "tensorflow/__init__.py"


@pytest.fixture
def only(monkeypatch):
    """Make what is installed here one folder's alone."""

    def look_in(*folders):
        real = installation.distributions
        monkeypatch.setattr(installation, "distributions", lambda: real(path=[str(folder) for folder in folders]))
        monkeypatch.setattr(installation, "find_spec", lambda name: None)

    return look_in


def _install(folder, name, version, *, carries=CARRIES):
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "RECORD").write_text(RECORD.format(name, version, carries))


def _names():
    return {str(found) for found in installation.installed_tensorflows()}


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow-cpu", "tf-nightly", "tf_nightly_cpu", "intel-tensorflow"])
def test_one_is_found_by_the_files_it_carries(name, only, tmp_path):
    _install(tmp_path, name, "2.21.0")
    _install(tmp_path, "tensorflow-datasets", "4.9", carries="tensorflow_datasets/__init__.py")
    _install(tmp_path, "tf2onnx", "1.17.0", carries="tf2onnx/__init__.py")
    only(tmp_path)
    assert _names() == {f"{name.replace('_', '-')} 2.21.0"}
    installation.require_tensorflow()


def test_a_wrapper_without_files_is_no_second_tensorflow(only, tmp_path):
    """`tensorflow` 2.18 on Windows only depends on `tensorflow-intel`."""
    _install(tmp_path, "tensorflow", "2.18.1", carries="tensorflow-2.18.1.dist-info/WHEEL")
    _install(tmp_path, "tensorflow-intel", "2.18.1")
    only(tmp_path)
    installation.require_tensorflow()


@pytest.mark.parametrize("names", [("tensorflow", "tensorflow-cpu"), ("tensorflow-cpu", "tf-nightly")])
def test_two_over_each_other_are_refused_with_the_two_lines_that_mend_it(names, only, tmp_path):
    _install(tmp_path, names[0], "2.19.1")
    _install(tmp_path, names[1], "2.21.0")
    only(tmp_path)
    with pytest.raises(BadInputError, match="Two TensorFlows") as failure:
        installation.require_tensorflow()
    *_, removes, installs = str(failure.value).splitlines()
    assert removes.split("fix:")[1].strip() == f"pip uninstall --yes {names[0]} {names[1]}"
    assert installs.strip() == f"pip install {names[0]}==2.19.1"


def test_one_in_each_of_two_environments_is_no_fault(only, tmp_path):
    """A virtual environment that sees its parent's packages: the nearer one is imported, whole."""
    _install(tmp_path / "mine", "tensorflow-cpu", "2.21.0")
    _install(tmp_path / "parent", "tensorflow", "2.19.1")
    only(tmp_path / "mine", tmp_path / "parent")
    installation.require_tensorflow()


def test_an_old_one_is_refused_and_keeps_its_name(only, tmp_path):
    _install(tmp_path, "tensorflow-cpu", "2.9.3")
    only(tmp_path)
    with pytest.raises(BadInputError, match="too old") as failure:
        installation.require_tensorflow()
    assert "pip install --upgrade tensorflow-cpu" in str(failure.value)


def test_none_names_the_extra_that_brings_it(only, tmp_path):
    only(tmp_path)
    with pytest.raises(MissingExtraError, match=r"perceiver-edge\[tensorflow\]"):
        installation.require_tensorflow()


@pytest.mark.parametrize("version", [(3, 9), (3, 14), (3, 15)])
def test_where_none_exists_for_a_python_the_message_says_which_to_take(version, only, tmp_path, monkeypatch):
    only(tmp_path)
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    with pytest.raises(BadInputError, match=r"3\.10 to 3\.13") as failure:
        installation.require_tensorflow()
    assert f"Python {version[0]}.{version[1]}\n" in str(failure.value)


@pytest.mark.parametrize("machine", [("Darwin", "x86_64"), ("Linux", "armv7l"), ("FreeBSD", "amd64")])
def test_where_none_exists_for_a_machine_the_message_says_which_to_take(machine, only, tmp_path, monkeypatch):
    only(tmp_path)
    monkeypatch.setattr(installation.platform, "system", lambda: machine[0])
    monkeypatch.setattr(installation.platform, "machine", lambda: machine[1])
    with pytest.raises(BadInputError, match="Darwin arm64") as failure:
        installation.require_tensorflow()
    assert " ".join(machine) in str(failure.value)


@pytest.mark.parametrize(
    "file",
    ["raise ImportError('libtensorflow_framework.so.2: undefined symbol: _ZN')", "raise AttributeError('no op')", ""],
)
def test_half_a_tensorflow_is_told_with_the_two_lines_that_mend_it(file, tmp_path):
    """What a removal leaves: files that are missing, or libraries of two versions."""
    _install(tmp_path, "tensorflow", "2.19.1")
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / CARRIES).write_text(file)
    script = """
import sys
from perceiver_edge import installation
real, here = installation.distributions, sys.path[0]
installation.distributions = lambda: real(path=[here])
from perceiver_edge.errors import BadInputError
try:
    import perceiver_edge.model
except BadInputError as error:
    print(error)
"""
    alone = {"PYTHONPATH": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{script}"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **alone}, capture_output=True, text=True, check=True
    )
    assert "TensorFlow is installed and cannot be imported." in done.stdout, done.stderr
    assert "pip uninstall --yes tensorflow\n" in done.stdout
    assert done.stdout.rstrip().endswith("pip install tensorflow==2.19.1")
