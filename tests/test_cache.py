"""The cache: what was made is found again, whole, by all that it depends on; nothing that goes wrong is fatal."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perceiver_edge.cache import Cache, default_folder, user_folder
from perceiver_edge.errors import BadInputError


class Maker:
    """Counts how often it makes its content."""

    def __init__(self, content=b"content"):
        self.content, self.calls = content, 0

    def __call__(self):
        self.calls += 1
        return self.content


@pytest.fixture
def entry(tmp_path):
    """The one file of a folder with one entry, made of the parts ["a"]."""
    Cache(tmp_path).cached(["a"], Maker())
    (file,) = tmp_path.iterdir()
    return file


def test_what_was_made_is_not_made_again(tmp_path):
    make = Maker()
    assert [Cache(tmp_path, "basis").cached(["a", 1], make) for _ in range(3)] == [b"content"] * 3
    assert make.calls == 1


@pytest.mark.parametrize(("basis", "parts"), [("other", ["a", 1]), ("basis", ["a", 2]), ("basis", ["a"])])
def test_other_inputs_are_another_entry(basis, parts, tmp_path):
    Cache(tmp_path, "basis").cached(["a", 1], Maker())
    assert Cache(tmp_path, basis).cached(parts, Maker(b"other")) == b"other"
    assert Cache(tmp_path, "basis").cached(["a", 1], Maker(b"never")) == b"content"


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:-3] + b"xyz", lambda b: b"", lambda b: b[:7]],
    ids=["shorter", "longer", "changed", "empty", "half a digest"],
)
def test_a_damaged_entry_is_made_again_and_replaced(damage, entry):
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    cache = Cache(entry.parent)
    assert cache.cached(["a"], Maker()) == b"content"
    assert cache.misses == 1
    assert entry.read_bytes() == whole


def test_an_entry_under_the_name_of_another_is_a_damaged_one(entry):
    Cache(entry.parent).cached(["b"], Maker(b"of b"))
    (other,) = set(entry.parent.iterdir()) - {entry}
    other.replace(entry)
    assert Cache(entry.parent).cached(["a"], Maker()) == b"content"


def test_least_recently_used_entries_and_leftovers_go_first(tmp_path):
    leftover = tmp_path / ".leftover-of-a-crash"
    leftover.write_bytes(bytes(200))
    os.utime(leftover, ns=(0, 0))
    cache = Cache(tmp_path, limit_bytes=300)
    for age, name in ((3, "a"), (2, "b")):
        before = set(tmp_path.iterdir())
        cache.cached([name], Maker(name.encode() * 80))
        (made,) = set(tmp_path.iterdir()) - before
        os.utime(made, ns=(10**9 - age, 10**9 - age))
    cache.cached(["a"], Maker(b"never"))  # used again: now b is the oldest
    cache.cached(["c"], Maker(b"c" * 80))
    makers = {name: Maker(name.encode() * 80) for name in "abc"}
    assert not leftover.exists()
    for name in "acb":
        cache.cached([name], makers[name])
    assert {name: make.calls for name, make in makers.items()} == {"a": 0, "b": 1, "c": 0}


def test_a_result_larger_than_the_limit_is_not_kept(tmp_path):
    folder = tmp_path / "cache"
    assert Cache(folder, limit_bytes=3).cached(["a"], Maker()) == b"content"
    assert not folder.exists()


def test_without_a_folder_nothing_is_kept():
    make = Maker()
    cache = Cache(None)
    assert [cache.cached(["a"], make) for _ in range(2)] == [b"content"] * 2
    assert (make.calls, cache.misses) == (2, 2)


def test_a_folder_that_cannot_be_written_is_told_once_and_no_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    told = []
    cache = Cache(tmp_path / "file", warn=told.append)
    assert [cache.cached([name], Maker()) for name in "ab"] == [b"content"] * 2
    (message,) = told
    assert str(tmp_path / "file") in message


def test_an_interrupted_making_leaves_nothing(tmp_path):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).cached(["a"], interrupted)
    assert list(tmp_path.iterdir()) == []


def test_processes_at_once_agree(tmp_path):
    program = """
import hashlib, sys
from pathlib import Path
from perceiver_edge.cache import Cache
cache = Cache(Path(sys.argv[1]), limit_bytes=1_500_000)
for turn in range(60):
    number = turn % 7
    content = bytes([number]) * 300_000
    assert cache.cached([number], lambda: content) == content
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [b""] * 3
    assert [process.returncode for process in processes] == [0] * 3
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1_500_000
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_folder_is_where_the_system_wants_it(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert user_folder() == Path("/elsewhere/perceiver_edge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_folder() == Path("/home/somebody/.cache/perceiver_edge")
    assert default_folder() == Path("/home/somebody/.cache/perceiver_edge/results")


def test_without_a_home_nothing_is_kept_and_who_needs_a_folder_says_what_helps(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert default_folder() is None
    with pytest.raises(BadInputError, match="XDG_CACHE_HOME"):
        user_folder()


def test_a_folder_among_the_entries_is_left_alone(tmp_path):
    said = []
    (tmp_path / "older").mkdir()
    (tmp_path / "older" / "file").write_text("kept")
    os.utime(tmp_path / "older", (0, 0))  # what was used longest ago goes first
    cache = Cache(tmp_path, limit_bytes=100, warn=said.append)
    for part in "abc":
        cache.cached([part], Maker(b"x" * 60))
    assert said == []
    assert (tmp_path / "older" / "file").read_text() == "kept"
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 1


def test_an_entry_of_the_future_goes_first(tmp_path):
    keep = Cache(tmp_path, limit_bytes=300)
    keep.cached(["a"], lambda: b"x" * 100)
    (of_the_future,) = tmp_path.iterdir()
    os.utime(of_the_future, (time.time() + 1e6, time.time() + 1e6))
    keep.cached(["b"], lambda: b"y" * 100)
    keep.cached(["c"], lambda: b"z" * 100)  # too many: one has to go
    assert not of_the_future.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among its files")
def test_a_pipe_is_no_entry(entry):
    entry.unlink()
    os.mkfifo(entry)
    assert Cache(entry.parent).cached(["a"], lambda: b"new") == b"new"  # and does not wait for a writer
