"""`verify` says what differs here, what `convert` said, and ends with one line; closed pipes change no verdict."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver_edge import verify
from perceiver_edge.bundle.folder import read_bundle
from perceiver_edge.commands import cli, proven
from perceiver_edge.errors import BadInputError, PerceiverEdgeError, printable


def test_the_last_line_says_what_was_proven_where_and_on_what(compiled, capsys):
    assert verify.main([str(compiled), "--quiet"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("All 4 models agree with the float model on 6 samples (")
    assert lines[-1].endswith(f", on {proven.describe_device()}.")


def test_it_says_what_convert_said(compiled, capsys):
    verify.main([str(compiled), "--quiet"])
    out = " ".join(capsys.readouterr().out.split())
    assert "The weights are random" in out and "Parity gates were changed from their defaults: top1_agreement 0" in out
    verify.main([str(compiled), "--quiet", "--json"])
    assert len(json.loads(capsys.readouterr().out)["notices"]) >= 2


@pytest.mark.parametrize("change", ["an engine", "TensorFlow", "the processor"])
def test_what_differs_here_is_said_with_what_to_do(compiled, monkeypatch, change):
    bundle = read_bundle(compiled)
    assert proven.differences(bundle) is None
    tools = dict(bundle.manifest.tools)
    if change == "the processor":
        monkeypatch.setattr(proven, "describe_device", lambda: "aarch64 Linux, Cortex-A76")
        says = "aarch64 Linux, Cortex-A76 (proven on"
    else:
        name = "onnxruntime" if change == "an engine" else next(n for n in tools if n.startswith("tensorflow"))
        says = f"{name} {tools[name]} (proven with 1.2.3)"
        tools[name] = "1.2.3"
    elsewhere = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, tools=tools))
    sentence = proven.differences(elsewhere)
    assert says in sentence and "\n" not in sentence and "compile the model again on this machine" in sentence


def run_into_a_closed_pipe(code):
    """What a program's exit code is when nobody reads its output."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    return process.returncode, process.stderr.decode()


@pytest.mark.parametrize("verdict", [0, 1])
@pytest.mark.parametrize("how", ["print('x' * 100_000)", "result_console().print('x' * 100_000)", "os.write(1, b'x')"])
def test_a_closed_pipe_changes_no_exit_code(verdict, how):
    code = f"""
import os, sys
from perceiver_edge.commands import cli
from perceiver_edge.errors import GateError
from perceiver_edge.progress import result_console
def command():
    result_console().print("first")
    sys.stdout.flush()
    {how}
    if {verdict}:
        raise GateError("no")
    return 0
sys.exit(cli.run(command))
"""
    assert run_into_a_closed_pipe(code)[0] == verdict


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "/tmp/x"),
        RuntimeError("ResourceExhausted: /tmp/y; No space left on device"),
        FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
    ],
)
def test_a_full_disk_is_no_defect(error, capsys):
    def command():
        try:
            raise error
        except Exception as inner:
            raise ValueError("a library's own words") from inner

    assert cli.run(command) == 2
    assert "There is no room left to write to" in capsys.readouterr().err


def test_a_path_too_long_is_no_defect(capsys):
    assert cli.run(lambda: Path("x" * 300).stat().st_size) == 2
    assert "A path is too long" in (told := capsys.readouterr().err)
    assert "300 characters" in told


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b31m", "\x07", "\u202eexe.png", "\r"])
def test_a_name_cannot_command_the_terminal(text):
    for error in (BadInputError("What.", where=f"a{text}b"), PerceiverEdgeError(f"a{text}b")):
        assert text not in str(error)
    assert printable("a ✓ é\n\tb") == "a ✓ é\n\tb"


def test_a_note_in_the_readme_is_no_damage(compiled, tmp_path):
    import shutil

    shutil.copytree(compiled, tmp_path / "b")
    with (tmp_path / "b/README.md").open("a") as readme:
        readme.write("\nFor the kitchen scales.\n")
    (tmp_path / "b/report.html").unlink()
    assert verify.main([str(tmp_path / "b"), "--quiet"]) == 0
    assert b"kitchen" in read_bundle(tmp_path / "b").read("README.md")
