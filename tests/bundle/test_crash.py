"""kill -9 at every step of `publish`: the destination is the old bundle or the new one, whole, and can be replaced."""

import base64
import errno
import json
import os
import subprocess
import sys
import time

import pytest

from perceiver_edge.bundle import folder as bundle
from perceiver_edge.bundle import locks
from perceiver_edge.bundle.folder import publish, read_bundle, require_writable
from perceiver_edge.errors import BadInputError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")

DRIVER = """
import base64, json, os, signal, sys
from pathlib import Path
from perceiver_edge.bundle import folder as bundle

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


HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, getattr(fcntl, sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""
READ = "import sys; from perceiver_edge.bundle.folder import read_bundle; read_bundle(sys.argv[1]); print('whole')"
PUBLISH = """
import json, sys
from perceiver_edge.bundle.folder import publish
publish({name: text.encode() for name, text in json.load(sys.stdin).items()}, sys.argv[1], overwrite=True)
"""


@pytest.fixture
def hold():
    """Hold a folder's lock in another process; what it returns is called to let go."""
    holders = []

    def start(folder, kind):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), kind], **pipes)
        holders.append(holder)
        assert holder.stdout.readline() == b"held\n"
        return holder.communicate

    yield start
    for holder in holders:
        if holder.returncode is None:
            holder.communicate()


def test_a_publisher_waits_for_whoever_holds_the_lock(tmp_path, make_files, hold):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    files = json.dumps({name: data.decode() for name, data in make_files(b"new").items()})
    let_go = hold(tmp_path, "LOCK_SH")
    with subprocess.Popen([sys.executable, "-c", PUBLISH, str(destination)], stdin=subprocess.PIPE) as publisher:
        publisher.stdin.write(files.encode())
        publisher.stdin.close()
        time.sleep(1)
        assert publisher.poll() is None
        assert read_bundle(destination).read("tiny_int8.onnx") == b"old"
        let_go()
        assert publisher.wait(30) == 0
    assert read_bundle(destination).read("tiny_int8.onnx") == b"new"


def test_a_reader_who_finds_no_bundle_waits_for_the_publisher_at_work(tmp_path, make_files, hold):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    destination.rename(bundle._aside(destination))  # between the two renames
    let_go = hold(tmp_path, "LOCK_EX")
    with subprocess.Popen([sys.executable, "-c", READ, str(destination)], stdout=subprocess.PIPE) as reader:
        time.sleep(1)
        assert reader.poll() is None, "a reader did not wait for the lock"
        assert not destination.exists()
        let_go()
        assert reader.communicate(timeout=30)[0] == b"whole\n"


@pytest.mark.parametrize("kind", ["LOCK_SH", "LOCK_EX"])
def test_a_lock_that_is_never_let_go_holds_no_reader_up_for_ever(tmp_path, make_files, hold, monkeypatch, kind):
    monkeypatch.setattr(bundle, "_READERS_PATIENCE_S", 0.1)
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    hold(tmp_path, kind)
    assert read_bundle(destination).read("tiny_int8.onnx") == b"old"
    with pytest.raises(BadInputError, match="no such folder"):
        read_bundle(tmp_path / "absent")


def test_a_reader_finds_the_bundle_that_comes_while_publishers_never_let_the_lock_go(tmp_path, make_files, hold):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    destination.rename(bundle._aside(destination))  # between the two renames
    hold(tmp_path, "LOCK_EX")
    with subprocess.Popen([sys.executable, "-c", READ, str(destination)], stdout=subprocess.PIPE) as reader:
        time.sleep(0.5)
        bundle._aside(destination).rename(destination)
        assert reader.communicate(timeout=5)[0] == b"whole\n"


def test_a_manifest_that_goes_and_comes_while_it_is_opened_is_looked_for_again(tmp_path, make_files, monkeypatch):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    real, moved = bundle.read_file, []

    def open_in_the_gap(path, **how):
        if moved:
            return real(path, **how)
        moved.append(destination.rename(tmp_path / "elsewhere"))
        try:
            return real(path, **how)
        finally:
            moved[0].rename(destination)

    monkeypatch.setattr(bundle, "read_file", open_in_the_gap)
    assert read_bundle(destination).read("tiny_int8.onnx") == b"old"
    assert moved


NO_LOCKS = [errno.EBADF, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.ENOSYS]


@pytest.mark.parametrize("code", NO_LOCKS, ids=errno.errorcode.get)
def test_readers_and_publishers_go_on_where_locking_is_impossible(tmp_path, make_files, monkeypatch, code):
    destination = publish(make_files(b"older"), tmp_path / "digits", overwrite=False)

    def refuse(descriptor, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    publish(make_files(b"old"), destination, overwrite=True)
    require_writable(destination, overwrite=True)
    assert read_bundle(destination).read("tiny_int8.onnx") == b"old"
    with pytest.raises(BadInputError, match="no such folder"):
        read_bundle(tmp_path / "absent")


def test_a_lock_that_fails_otherwise_is_an_error_before_the_long_work(tmp_path, monkeypatch):
    def fail(descriptor, how):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", fail)
    with pytest.raises(BadInputError, match="Input/output error"):
        require_writable(tmp_path / "digits", overwrite=False)


def test_without_locks_a_reader_leaves_a_publisher_at_work_alone(tmp_path, make_files, monkeypatch):
    """As on Windows: between the two renames the old bundle stays aside, and the new one comes."""
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    new = publish(make_files(b"new"), tmp_path / "new", overwrite=False)
    monkeypatch.setattr(locks, "_opened", lambda parent: None)
    destination.rename(bundle._aside(destination))

    def goes_on(seconds):
        assert not destination.exists()
        new.rename(destination)

    monkeypatch.setattr(bundle.time, "sleep", goes_on)
    assert read_bundle(destination).read("tiny_int8.onnx") == b"new"


def test_without_locks_a_reader_puts_back_what_a_crash_left_aside(tmp_path, make_files, monkeypatch):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    monkeypatch.setattr(locks, "_opened", lambda parent: None)
    monkeypatch.setattr(bundle, "_READERS_PATIENCE_S", 0.05)
    destination.rename(bundle._aside(destination))
    assert read_bundle(destination).read("tiny_int8.onnx") == b"old"


def test_a_reader_puts_the_old_bundle_back_and_deletes_nothing(tmp_path, make_files):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    bundle._staging(destination).mkdir()
    destination.rename(bundle._aside(destination))
    assert read_bundle(destination).read("tiny_int8.onnx") == b"old"
    assert names_in(tmp_path) == [".digits.perceiver-edge-new", "digits"]


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_reader_who_refuses_deletes_nothing(tmp_path, has_manifest):
    (tmp_path / "thing").mkdir()
    aside = tmp_path / ".thing.perceiver-edge-old"
    aside.mkdir()
    (aside / ("manifest.json" if has_manifest else "precious")).write_text("mine")
    with pytest.raises(BadInputError, match=r"no manifest\.json"):
        read_bundle(tmp_path / "thing")
    assert len(names_in(aside)) == 1


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
def test_a_folder_without_manifest_is_not_the_publishers_to_remove(tmp_path, make_files, monkeypatch, exchange):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    aside = bundle._aside(destination)
    aside.mkdir()
    (aside / "precious").write_text("mine")
    if exchange:
        publish(make_files(b"new"), destination, overwrite=True)
    else:
        monkeypatch.setattr(bundle, "_exchange", lambda one, other: False)
        with pytest.raises(BadInputError, match="cannot be written"):
            publish(make_files(b"new"), destination, overwrite=True)
    assert read_bundle(destination).read("tiny_int8.onnx") == (b"new" if exchange else b"old")
    assert (aside / "precious").read_text() == "mine"


def test_leftovers_of_both_kinds_are_cleared(tmp_path, make_files):
    destination = publish(make_files(b"old"), tmp_path / "digits", overwrite=False)
    for leftover in (bundle._staging(destination), bundle._aside(destination)):
        leftover.mkdir()
        (leftover / "half").write_bytes(b"")
    (bundle._aside(destination) / "manifest.json").write_bytes(b"{}")
    publish(make_files(b"new"), destination, overwrite=True)
    assert names_in(tmp_path) == ["digits"]
