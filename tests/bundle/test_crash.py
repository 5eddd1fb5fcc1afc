"""kill -9 at every step of `publish`: the destination is the old bundle or the new one, whole, and can be replaced."""

import base64
import json
import os
import subprocess
import sys
import time

import pytest

from perceiver_edge import bundle
from perceiver_edge.bundle import publish, read_bundle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

DRIVER = """
import base64, json, os, signal, sys
from pathlib import Path
from perceiver_edge import bundle

work, exchange, old, new = json.loads(sys.argv[1])
old, new = ({name: base64.b64decode(text) for name, text in files.items()} for files in (old, new))
real_exchange, real_fsync = bundle._exchange, os.fsync

def publish_and_die(destination, step, overwrite):
    # Each file-system event that Python audits is a step, and so is each fsync and each exchange.
    steps = iter(range(10**6))
    def tick(*_):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
    def exchange_or_not(one, other):
        tick()
        return real_exchange(one, other) if exchange else False
    bundle._exchange = exchange_or_not
    os.fsync = lambda descriptor: (tick(), real_fsync(descriptor), tick())
    events = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}
    sys.addaudithook(lambda event, _: tick() if event in events else None)
    bundle.publish(new, destination, overwrite=overwrite)

for step in range(10**6):
    destination = Path(work) / str(step) / "digits"
    if old:
        bundle.publish(old, destination, overwrite=False)
    child = os.fork()
    if child == 0:
        publish_and_die(destination, step, bool(old))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
    assert os.WTERMSIG(status) == signal.SIGKILL
"""


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def run_driver(work, *, exchange, old, new):
    text = [{name: base64.b64encode(data).decode() for name, data in files.items()} for files in (old, new)]
    argument = json.dumps([str(work), exchange, *text])
    subprocess.run([sys.executable, "-c", DRIVER, argument], check=True, timeout=120)
    steps = sorted(int(entry.name) for entry in work.iterdir())
    assert len(steps) > 15, "the kills did not reach into publish"
    return [work / str(step) / "digits" for step in steps[:-1]]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_killed_while_replacing(tmp_path, make_files, exchange):
    old, new, newest = make_files(b"old"), make_files(b"new"), make_files(b"newest")
    survivors = []
    for destination in run_driver(tmp_path, exchange=exchange, old=old, new=new):
        survivors.append(read_bundle(destination).read("tiny_int8.onnx"))
        publish(newest, destination, overwrite=True)
        assert read_bundle(destination).read("tiny_int8.onnx") == b"newest"
        assert names_in(destination.parent) == ["digits"]
    swapped = survivors.index(b"new")
    assert survivors == [b"old"] * swapped + [b"new"] * (len(survivors) - swapped)
    assert swapped > 0


def test_killed_while_publishing_for_the_first_time(tmp_path, make_files):
    outcomes = []
    for destination in run_driver(tmp_path, exchange=True, old={}, new=make_files(b"new")):
        outcomes.append(destination.exists() and read_bundle(destination).read("tiny_int8.onnx"))
        publish(make_files(b"newest"), destination, overwrite=True)
        assert names_in(destination.parent) == ["digits"]
    assert set(outcomes) == {False, b"new"}


def test_a_publisher_waits_for_the_one_at_work(tmp_path, make_files):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    hold = (
        "import sys, time; from pathlib import Path; from perceiver_edge import bundle\n"
        "with bundle._locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        waiting = subprocess.Popen([sys.executable, "-c", READ, str(destination)], stdout=subprocess.PIPE)
        time.sleep(0.5)
        assert waiting.poll() is None, "a reader did not wait for the lock"
        holder.stdin.close()
        assert waiting.communicate(timeout=30)[0] == b"whole\n"


READ = "import sys; from perceiver_edge.bundle import read_bundle; read_bundle(sys.argv[1]); print('whole')"


def test_leftovers_of_both_kinds_are_cleared(tmp_path, make_files):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    for leftover in (bundle._staging(destination), bundle._aside(destination)):
        leftover.mkdir()
        (leftover / "half").write_bytes(b"")
    publish(make_files(b"new"), destination, overwrite=True)
    assert names_in(tmp_path) == ["digits"]
