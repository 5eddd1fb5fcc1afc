"""What a process may use, told by fake file systems of kernels, and by a real control group where one can be made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perceiver_edge.runtime import processors

V2 = "30 23 0:26 / {folder} rw,nosuid - cgroup2 cgroup2 rw"
V1 = "31 23 0:27 {root} {folder} rw - cgroup cgroup rw,cpu,cpuacct"
OTHER = "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Writes the files of a kernel: its mounts, this process's groups, and what lies in the groups."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    monkeypatch.setattr(processors, "_PROC", proc)

    def write(*, mounts: str, membership: str, files: dict[str, str], root: str = "/") -> None:
        (proc / "mountinfo").write_text(OTHER + "\n" + mounts.format(folder=groups, root=root) + "\n")
        (proc / "cgroup").write_text("9:memory:/elsewhere\n" + membership + "\n")
        for name, content in files.items():
            (groups / name).parent.mkdir(parents=True, exist_ok=True)
            (groups / name).write_text(content)

    return write


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"app/cpu.max": "50000 100000\n"}, 0.5),
        ({"app/cpu.max": "250000 100000\n"}, 2.5),
        ({"app/cpu.max": "max 100000\n"}, None),
        ({"app/cpu.max": "max 100000\n", "cpu.max": "300000 100000\n"}, 3.0),  # of the group that it lies in
        ({"app/cpu.max": "400000 100000\n", "cpu.max": "300000 100000\n"}, 3.0),
        ({"app/cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_quota_of_version_2(kernel, files, quota):
    kernel(mounts=V2, membership="0::/app", files=files)
    assert processors.processor_quota() == quota


@pytest.mark.parametrize(("microseconds", "quota"), [("150000", 1.5), ("-1", None), ("0", None)])
def test_quota_of_version_1(kernel, microseconds, quota):
    files = {"app/cpu.cfs_quota_us": f"{microseconds}\n", "app/cpu.cfs_period_us": "100000\n"}
    kernel(mounts=V1, membership="4:cpu,cpuacct:/app", files=files)
    assert processors.processor_quota() == quota


def test_a_container_has_its_own_group_mounted_and_sees_the_hosts_path(kernel):
    files = {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}
    kernel(mounts=V1, root="/docker/1f", membership="4:cpu,cpuacct:/docker/1f", files=files)
    assert processors.processor_quota() == 1
    kernel(mounts=V1, root="/docker/1f", membership="4:cpu,cpuacct:/another", files=files)
    assert processors.processor_quota() == 1


def test_no_control_groups_are_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "_PROC", tmp_path / "absent")
    assert processors.processor_quota() is None


@pytest.mark.parametrize(
    ("usable", "quota", "threads"),
    [(1, None, 1), (2, None, 2), (64, None, 4), (64, 2.0, 2), (64, 2.9, 2), (64, 0.1, 1), (2, 3.0, 2)],
)
def test_default_threads_are_what_may_be_used(monkeypatch, tmp_path, usable, quota, threads):
    monkeypatch.setattr(processors, "_SYSTEM", tmp_path)
    monkeypatch.setattr(processors, "usable_processors", lambda: tuple(range(usable)))
    monkeypatch.setattr(processors, "processor_quota", lambda: quota)
    assert processors.default_threads() == threads


def test_big_cores_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(processors, "_SYSTEM", tmp_path)
    for number, capacity in enumerate((446, 446, 871, 871, 1024)):
        (tmp_path / f"cpu{number}").mkdir()
        (tmp_path / f"cpu{number}" / "cpu_capacity").write_text(f"{capacity}\n")
    assert processors.fastest((0, 1, 2, 3, 4), 1) == (4,)
    assert processors.fastest((0, 1, 2, 3, 4), 2) == (2, 3, 4)
    assert processors.fastest((0, 1, 2, 3, 4), 4) == (0, 1, 2, 3, 4)
    assert processors.fastest((0, 1), 4) == (0, 1)
    assert processors.fastest((7, 8), 1) == (7, 8)  # it does not tell
    monkeypatch.setattr(processors, "usable_processors", lambda: (0, 1, 2, 3, 4))
    monkeypatch.setattr(processors, "processor_quota", lambda: None)
    assert processors.default_threads() == 3


def _a_group_of_one_processor() -> Path | None:
    """A new control group whose quota is one processor; None where none can be made."""
    name = f"perceiver_edge_test_{os.getpid()}"
    v1, v2 = Path("/sys/fs/cgroup/cpu", name), Path("/sys/fs/cgroup", name)
    try:
        if v1.parent.exists():
            v1.mkdir()
            (v1 / "cpu.cfs_quota_us").write_text("100000")
            return v1
        v2.mkdir()
        try:
            (v2 / "cpu.max").write_text("100000 100000")
        except OSError:
            v2.rmdir()
            raise
    except OSError:
        return None
    return v2


def test_a_real_control_group_of_one_processor_means_one_thread():
    group = _a_group_of_one_processor()
    if group is None:
        pytest.skip("no control group can be made here")
    script = (
        "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from perceiver_edge.runtime.processors import default_threads, processor_quota\n"
        "print(processor_quota(), default_threads())"
    )
    try:
        done = subprocess.run([sys.executable, "-c", script, str(group)], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["1.0", "1"]
    finally:
        group.rmdir()


@pytest.mark.parametrize("name", [b"caf\xe9", "a\u2028b".encode(), b"a\x0cb", "a\x85b".encode()])
def test_a_mount_or_a_group_of_any_name_hides_no_quota(name, tmp_path, monkeypatch):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "cpu.max").write_text("150000 100000\n")
    mount = b"%d 1 0:1 / %b rw - %b %b rw\n"
    mounts = [mount % (1, b"/media/" + name, b"ext4", name), mount % (2, bytes(tmp_path), b"cgroup2", b"cgroup2")]
    (tmp_path / "mountinfo").write_bytes(b"".join(mounts))
    (tmp_path / "cgroup").write_bytes(b"1:name=" + name + b":/\n0::/own\n")
    monkeypatch.setattr(processors, "_PROC", tmp_path)
    assert processors.processor_quota() == 1.5
