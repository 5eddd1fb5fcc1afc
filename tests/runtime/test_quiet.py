import os

import pytest

from perceiver_edge.runtime._quiet import without_notices


def test_notices_are_held_back_and_warnings_are_not(capfd):
    with without_notices():
        os.write(2, b"INFO: delegate created\nWARNING: slow path\n")
    os.write(2, b"INFO: after\n")
    assert capfd.readouterr().err == "WARNING: slow path\nINFO: after\n"


def test_stderr_is_given_back_after_an_exception(capfd):
    with pytest.raises(ValueError, match="x"), without_notices():
        raise ValueError("x")
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"
