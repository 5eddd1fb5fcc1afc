import logging
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from perceiver_edge.runtime._quiet import without_litert_notices, without_notices, without_tensorflow_notices


def test_notices_are_held_back_and_warnings_are_not(capfd):
    with without_notices():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nWARNING: slow path\n")
        os.write(2, b"INFO: [environment.cc:36] Creating LiteRT environment with options\n")
    os.write(2, b"INFO: after\n")
    assert capfd.readouterr().err == "WARNING: slow path\nINFO: after\n"


@pytest.mark.parametrize("quietly", [without_notices, without_litert_notices, without_tensorflow_notices])
def test_a_programs_own_lines_are_let_through(quietly, capfd):
    own = (
        "INFO:root:served request 1\nINFO served\nINFO: served\nINFO: TensorFlow Lite is loaded\n"
        "I1126 16:30:57.802112 140187 app.py:10] absl's form, from Python\n"
    )
    with quietly():
        os.write(2, own.encode())
    assert capfd.readouterr().err == own


def test_stderr_is_given_back_after_an_exception(capfd):
    with pytest.raises(ValueError, match="x"), without_notices():
        raise ValueError("x")
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"


AT_EXIT = """
import atexit, os, sys
from perceiver_edge.runtime._quiet import leave_stderr_to_python_at_exit
atexit.register(lambda: (os.write(2, b"C++ "), print("Python", file=sys.stderr)))
leave_stderr_to_python_at_exit()
leave_stderr_to_python_at_exit()
os.write(2, b"before ")
"""


def test_at_exit_stderr_is_pythons_alone():
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True)
    assert done.stderr == "before Python\n"


WITHOUT_STDERR = """
import os, sys
if sys.argv[1] == "closed later":
    os.close(2)
from perceiver_edge.commands.libraries import _silent_unless_it_fails
from perceiver_edge.runtime._quiet import leave_stderr_to_python_at_exit, without_notices
leave_stderr_to_python_at_exit()
for quietly in (without_notices, _silent_unless_it_fails):
    with quietly():
        print("ran")
    try:
        with quietly():
            raise ValueError
    except ValueError:
        print("raised")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("when", ["never there", "closed later"])
def test_where_there_is_no_stderr_the_work_goes_on(when):
    redirect = "2>&-" if when == "never there" else ""
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", WITHOUT_STDERR, when]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ran\nraised\n" * 2)


@pytest.mark.parametrize("fails", [False, True])
def test_what_the_import_of_tensorflow_says_is_shown_only_if_it_fails(fails, capfd):
    from perceiver_edge.commands.libraries import _silent_unless_it_fails

    with suppress(ValueError), _silent_unless_it_fails():
        os.write(2, b"cannot register\n")
        if fails:
            raise ValueError
    assert capfd.readouterr().err == ("cannot register\n" if fails else "")


def test_what_tensorflow_says_while_all_is_well_is_held_back(capfd):
    logger = logging.getLogger("tensorflow")
    before = logger.level
    with without_tensorflow_notices():
        os.write(
            2, b"I0000 00:00:1795687657.801170   12446 port.cc:153] oneDNN\nW0000 00:00:1795687737.5 1 a.cc:1] b\n"
        )
        os.write(2, b"E0000 00:00:1795687657.801170   12446 port.cc:153] wrong\nIt is so.\n")
        assert not logger.isEnabledFor(logging.INFO)
    assert capfd.readouterr().err == "E0000 00:00:1795687657.801170   12446 port.cc:153] wrong\nIt is so.\n"
    assert logger.level == before
