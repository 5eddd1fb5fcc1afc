"""``perceiver-edge``: every command under one name, bad usage in two lines, the nearest known word."""

import subprocess
import sys

import pytest

from perceiver_edge.commands import main as commands


def usage_error(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(arguments)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["convrt"], "convert"),
        (["convert", "--quantize", "int9"], "int8"),
        (["convert", "--quantise", "int8"], "--quantize"),
        (["convert", "--formats", "tflit"], "tflite"),
        (["verify", "build/digits", "--runtmies", "all"], "--runtimes"),
    ],
    ids=" ".join,
)
def test_bad_usage_is_told_in_two_lines(arguments, nearest, capsys):
    error, usage = usage_error(arguments, capsys)
    assert error.startswith("error: ")
    assert error.endswith(f"did you mean {nearest}?")
    assert usage.startswith("usage: perceiver-edge")


def test_a_word_that_nothing_resembles_gets_no_proposal(capsys):
    error, _ = usage_error(["xylophone"], capsys)
    assert "did you mean" not in error


def test_without_a_command_the_commands_are_named(capsys):
    error, _ = usage_error([], capsys)
    assert all(command.name in error for command in commands.COMMANDS)


def test_each_command_is_the_one_behind_its_door():
    for command in commands.COMMANDS:
        module = __import__(f"perceiver_edge.commands.{command.name}", fromlist=["COMMAND"])
        assert module.COMMAND is command


def test_the_version_is_that_of_the_package():
    import perceiver_edge

    done = subprocess.run(
        [sys.executable, "-m", "perceiver_edge", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"perceiver-edge {perceiver_edge.__version__}\n"


def test_a_clone_that_nobody_installed_has_a_version_and_commands():
    program = """
from importlib import metadata
def missing(name):
    raise metadata.PackageNotFoundError(name)
metadata.version = missing
from perceiver_edge.commands.main import main
main(["--version"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", commands.SHELLS)
def test_a_completion_script_knows_commands_and_flags(shell, capsys):
    assert commands.main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert "verify" in script
    assert "calibration-data" in script or "calibration_data" in script


def test_a_command_runs_under_the_one_name(capsys, tmp_path):
    assert commands.main(["inspect", str(tmp_path / "nothing.onnx")]) == 2
    assert "The file cannot be read" in capsys.readouterr().err
