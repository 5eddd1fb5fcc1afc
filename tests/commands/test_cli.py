import errno
import os

import pytest

from perceiver_edge import progress
from perceiver_edge.commands import cli
from perceiver_edge.errors import BadInputError, GateError


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BadInputError("No such thing.", got="x"), 2, "error: No such thing.\n  got:      x\n"),
        (GateError("Too far off."), 1, "error: Too far off.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_failures_become_a_message_and_an_exit_code(error, code, message, capsys):
    assert cli.run(lambda: _raise(error)) == code
    assert capsys.readouterr() == ("", message)


def test_an_unexpected_error_is_shown_whole_and_is_not_a_gates_verdict(capsys):
    assert cli.run(lambda: _raise(ZeroDivisionError("by nought"))) == 70
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("Traceback")
    assert "ZeroDivisionError: by nought" in told.err
    assert told.err.endswith("error: this is a defect of perceiver_edge; please report it with the lines above\n")


def test_progress_goes_to_stderr_and_can_be_quiet(capsys):
    progress.progress_console().print("working")
    progress.progress_console(quiet=True).print("hidden")
    progress.result_console().print("result")
    assert capsys.readouterr() == ("result\n", "working\n")


def test_results_are_not_broken_at_80_columns_in_a_pipe(capsys):
    line = " ".join("x" * 50)
    progress.result_console().print(line)
    assert capsys.readouterr().out == line + "\n"


def test_the_systems_word_for_an_unknown_error_is_no_full_disk(monkeypatch):
    """What Windows says of a quota."""
    words = {errno.EDQUOT: "Unknown error"}
    monkeypatch.setattr(os, "strerror", lambda code: words.get(code, "No space left on device"))
    assert cli.disk_full(RuntimeError("Unknown error of a driver")) is None
    assert cli.disk_full(RuntimeError("write: No space left on device")) is not None
    assert cli.disk_full(OSError(errno.EDQUOT, "Unknown error")) is not None
