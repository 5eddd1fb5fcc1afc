import os
import threading
from pathlib import Path

import pytest

from perceiver_edge.bundle import folder as bundle
from perceiver_edge.bundle import locks
from perceiver_edge.bundle.folder import publish, read_bundle, require_writable
from perceiver_edge.bundle.manifest import seal
from perceiver_edge.errors import BadInputError

OLD, NEW = b"old model", b"new model!"


@pytest.fixture
def published(tmp_path, make_files):
    return publish(make_files(OLD), tmp_path / "digits", overwrite=False)


@pytest.fixture(params=["exchange", "two renames", "darwin"])
def swap(request, monkeypatch):
    """Both ways of replacing a folder: the one this system has, and the one for systems without it."""
    if request.param == "two renames":
        monkeypatch.setattr(bundle, "_exchange", lambda one, other: False)
    elif request.param == "darwin":
        monkeypatch.setattr(bundle.sys, "platform", "darwin")


@pytest.mark.parametrize("content", [b"[]", b"3", b"{}", b'{"artefacts": []}', b'{"artefacts": {"a.onnx": 1}}', b"{"])
def test_times_of_another_form_are_refused(content, make_manifest, tmp_path):
    files = seal(make_manifest(OLD), {"tiny_int8.onnx": OLD, "latency.json": content})
    bundle = read_bundle(publish(files, tmp_path / "tiny", overwrite=False))
    with pytest.raises(BadInputError, match=r"latency\.json"):
        _ = bundle.latency


def test_a_folder_that_windows_does_not_take_is_refused_there(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle.sys, "platform", "win32")
    for name in ("nul", "aux.models", "digits."):
        with pytest.raises(BadInputError, match="Windows takes no folder"):
            require_writable(tmp_path / name, overwrite=False)
    for name in ("digits", "null", "com10", "console.models", ".digits"):
        require_writable(tmp_path / name, overwrite=False)


def names_in(folder):
    return sorted(entry.name for entry in folder.iterdir())


def content(path):
    return read_bundle(path).read("tiny_int8.onnx")


def test_published_bundle_reads_back(tmp_path, make_files):
    path = publish(make_files(OLD), tmp_path / "not" / "there" / "digits", overwrite=False)
    assert content(path) == OLD
    assert read_bundle(path).read("README.md") == b"card of " + OLD
    assert names_in(path.parent) == ["digits"]


def test_an_empty_folder_is_a_fine_destination(tmp_path, make_files):
    require_writable(tmp_path, overwrite=False)
    assert content(publish(make_files(NEW), tmp_path, overwrite=False)) == NEW


@pytest.mark.usefixtures("swap")
@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._digits_int8.tflite"])
def test_what_a_file_manager_left_is_in_nobodys_way(published, make_files, tmp_path, name):
    (published / name).write_bytes(b"icons")
    require_writable(published, overwrite=True)
    publish(make_files(NEW), published, overwrite=True)
    assert content(published) == NEW
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / name).write_bytes(b"icons")
    assert content(publish(make_files(NEW), tmp_path / "empty", overwrite=False)) == NEW


def test_overwrite_replaces_the_whole_bundle_and_leaves_nothing_beside_it(published, make_files):
    files = make_files(NEW)
    require_writable(published, overwrite=True)
    publish(files, published, overwrite=True)
    assert content(published) == NEW
    assert names_in(published) == sorted(files)
    assert names_in(published.parent) == ["digits"]


def test_without_locks_and_exchange_a_bundle_is_replaced_all_the_same(published, make_files, monkeypatch):
    """As on Windows, where nothing keeps two publishers apart."""
    monkeypatch.setattr(bundle.sys, "platform", "win32")
    monkeypatch.setattr(locks, "fcntl", None)
    publish(make_files(NEW), published, overwrite=True)
    assert content(published) == NEW
    assert names_in(published.parent) == ["digits"]


@pytest.mark.parametrize("check", [lambda files, path, o: publish(files, path, overwrite=o), None])
class TestRefused:
    """`require_writable` refuses early what `publish` refuses late."""

    def refuse(self, check, files, path, *, overwrite, says):
        with pytest.raises(BadInputError, match=says):
            check(files, path, overwrite) if check else require_writable(path, overwrite=overwrite)

    def test_an_existing_bundle_without_overwrite(self, check, published, make_files):
        self.refuse(check, make_files(NEW), published, overwrite=False, says="overwrite=True")
        assert content(published) == OLD

    @pytest.mark.parametrize("length", [240, 300])
    def test_a_name_too_long_for_the_system(self, check, tmp_path, make_files, length):
        """Of 240 characters, what the folder is called while it is written, is too long."""
        self.refuse(check, make_files(NEW), tmp_path / ("x" * length), overwrite=False, says="too long")
        assert names_in(tmp_path) == []

    def test_a_folder_that_is_no_bundle(self, check, tmp_path, make_files):
        (tmp_path / "thesis.tex").write_text("years of work")
        self.refuse(check, make_files(NEW), tmp_path, overwrite=True, says="never overwritten")
        assert names_in(tmp_path) == ["thesis.tex"]

    def test_a_folder_with_somebody_elses_manifest(self, check, tmp_path, make_files):
        (tmp_path / "manifest.json").write_text('{"name": "web app", "icons": []}')
        self.refuse(check, make_files(NEW), tmp_path, overwrite=True, says="not the manifest of a bundle")

    def test_a_bundle_somebody_put_files_into(self, check, published, make_files):
        (published / "notes.txt").write_text("mine")
        self.refuse(check, make_files(NEW), published, overwrite=True, says=r"notes\.txt")
        assert (published / "notes.txt").read_text() == "mine"

    def test_a_file(self, check, tmp_path, make_files):
        (tmp_path / "out").write_text("a file")
        self.refuse(check, make_files(NEW), tmp_path / "out", overwrite=True, says="is a file")
        self.refuse(check, make_files(NEW), tmp_path / "out" / "digits", overwrite=True, says="cannot be written")

    def test_a_place_where_nobody_may_write(self, check, make_files):
        proc = Path("/proc/1")
        if not proc.exists():
            pytest.skip("needs /proc, where root may not write either")
        self.refuse(check, make_files(NEW), proc / "digits", overwrite=False, says="cannot be written")


def test_a_symlink_is_followed_not_replaced(published, make_files, tmp_path):
    (tmp_path / "link").symlink_to(published)
    publish(make_files(NEW), tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert content(published) == NEW


@pytest.mark.usefixtures("swap")
@pytest.mark.parametrize("failing_call", range(4))
def test_a_full_disk_leaves_the_old_bundle_and_no_litter(published, make_files, monkeypatch, failing_call):
    calls, fsync = iter(range(100)), os.fsync

    def full(descriptor):
        if next(calls) == failing_call:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInputError, match="No space left"):
        publish(make_files(NEW), published, overwrite=True)
    assert content(published) == OLD
    assert names_in(published.parent) == ["digits"]


def test_a_failure_between_the_two_renames_puts_the_old_bundle_back(published, make_files, monkeypatch):
    rename = Path.rename

    def fail_to_move_in(path, target):
        if path.name == ".digits.perceiver-edge-new":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(bundle, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", fail_to_move_in)
    with pytest.raises(BadInputError, match="Input/output error"):
        publish(make_files(NEW), published, overwrite=True)
    assert content(published) == OLD
    assert names_in(published.parent) == ["digits"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.unlink(), r"tiny_int8\.onnx is missing"),
        (lambda path: path.write_bytes(OLD[:-1]), r"tiny_int8\.onnx is damaged"),
        (lambda path: path.write_bytes(OLD.swapcase()), r"tiny_int8\.onnx is damaged"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
        (lambda path: (path.parent / "manifest.json").unlink(), r"no manifest\.json"),
        (lambda path: (path.parent / "manifest.json").write_text("{"), r"manifest\.json"),
    ],
    ids=["missing", "truncated", "same size", "a folder", "no manifest", "manifest truncated"],
)
def test_reading_says_what_is_wrong(published, change, says):
    change(published / "tiny_int8.onnx")
    with pytest.raises(BadInputError, match=says):
        read_bundle(published)


def test_a_file_reached_through_a_link_out_of_the_folder_is_refused(published, tmp_path):
    (tmp_path / "elsewhere").write_bytes(OLD)
    (published / "tiny_int8.onnx").unlink()
    (published / "tiny_int8.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInputError, match="outside"):
        read_bundle(published)


def test_reading_what_is_not_there(tmp_path, published):
    with pytest.raises(BadInputError, match="no such folder"):
        read_bundle(tmp_path / "nothing" / "here")
    with pytest.raises(BadInputError, match="no such file"):
        read_bundle(published).read("manifest.json")


def test_damage_after_reading_is_noticed_too(published):
    whole = read_bundle(published)
    (published / "tiny_int8.onnx").write_bytes(b"tampered!")
    with pytest.raises(BadInputError, match="damaged"):
        whole.read("tiny_int8.onnx")


@pytest.mark.usefixtures("swap")
def test_a_bundle_replaced_while_it_is_read_is_read_anew(published, make_files, monkeypatch):
    check, turns = bundle.checked_bytes, iter([NEW])

    def replaced_before_the_first_check(*args):
        for newer in turns:
            publish(make_files(newer), published, overwrite=True)
        return check(*args)

    monkeypatch.setattr(bundle, "checked_bytes", replaced_before_the_first_check)
    assert content(published) == NEW


@pytest.mark.usefixtures("swap")
def test_publishers_and_readers_at_once_only_ever_see_whole_bundles(published, make_files):
    errors, seen = [], set()

    def work(job):
        try:
            for turn in range(8):
                job(turn)
        except BaseException as error:
            errors.append(error)

    def write(tag):
        return lambda turn: publish(make_files(b"model %d of %d" % (turn, tag)), published, overwrite=True)

    def read(turn):
        now = read_bundle(published)
        seen.add(now.manifest.artefacts["tiny_int8.onnx"].sha256)

    jobs = [write(0), write(1), write(2), read, read]
    threads = [threading.Thread(target=work, args=[job]) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert content(published).startswith(b"model 7 of ")
    assert names_in(published.parent) == ["digits"]
    assert seen
