"""What of the machine this process may really use: `taskset`, cpusets and a container's quota all make it less."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")
_SYSTEM = Path("/sys/devices/system/cpu")

_LITTLE = 0.5
"""A processor with less than this of the fastest one's capacity is waited for: it is no help."""

MOST_THREADS = 4
"""Of one inference, unless asked for more: what phones and Raspberry Pis have of fast cores."""


def usable_processors() -> tuple[int, ...]:
    """The processors that this process may run on, ascending; without affinity (macOS) all of them."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def fastest(processors: tuple[int, ...], count: int) -> tuple[int, ...]:
    """Those of the highest capacity and, while they are fewer than ``count``, of the next: Arm's big cores go first."""
    capacity = _capacities(processors)
    taken: set[int] = set()
    for one in sorted(processors, key=lambda one: -capacity[one]):
        if len(taken) >= count and capacity[one] < min(capacity[other] for other in taken):
            break
        taken.add(one)
    return tuple(sorted(taken))


def _capacities(processors: tuple[int, ...]) -> dict[int, float]:
    """As Linux tells for processors of several kinds; all the same where it does not tell of each."""
    told = {one: _number(_SYSTEM / f"cpu{one}" / "cpu_capacity") for one in processors}
    known = {one: capacity for one, capacity in told.items() if capacity}
    return known if len(known) == len(processors) else dict.fromkeys(processors, 1.0)


def default_threads() -> int:
    """How many threads one inference gets unless it is said: one for each processor that this process may use, little
    ones left out, as far as the quota pays for them whole, at most `MOST_THREADS`."""
    capacities = _capacities(usable_processors()).values()
    big = sum(capacity >= _LITTLE * max(capacities) for capacity in capacities)
    quota = processor_quota()
    paid = big if quota is None else max(int(quota), 1)
    return min(big, paid, MOST_THREADS)


def processor_quota() -> float | None:
    """Processors' worth of time that the control groups of this process allow, the least of all levels.

    None where there is no limit, or no control groups. Read from cgroup v2 (``cpu.max``) and v1 (``cpu.cfs_quota_us``
    over ``cpu.cfs_period_us``); see https://docs.kernel.org/admin-guide/cgroup-v2.html.
    """
    quotas = [_quota_of(folder) for folder in _cpu_groups()]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Path) -> float | None:
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    if quota is None:
        try:
            quota, period = (float(word) for word in (group / "cpu.max").read_text(encoding="ascii").split())
        except (OSError, ValueError):  # there is no such group, or its limit is "max"
            return None
    return quota / period if quota > 0 and period else None  # in v1, -1 is no limit


def _cpu_groups() -> Iterator[Path]:
    """The folders of the groups that limit this process, its own first, then those that it lies in."""
    try:
        memberships, mounts = _lines(_PROC / "cgroup"), _lines(_PROC / "mountinfo")
    except OSError:
        return
    for root, folder, controllers in filter(None, map(_cgroup_mount, mounts)):
        for membership in memberships:
            _, names, path = membership.split(":", 2)
            if ("cpu" in names.split(",")) if controllers else not names:
                group = folder / _inside(path, root)
                yield from (one for one in (group, *group.parents) if one.is_relative_to(folder))


def _lines(file: Path) -> list[str]:
    """Paths in it may be of any bytes, and hold what `str.splitlines` takes for the end of a line."""
    return file.read_bytes().decode(errors="surrogateescape").rstrip("\n").split("\n")


def _cgroup_mount(line: str) -> tuple[str, Path, bool] | None:
    """(which group is mounted, where, whether it is v1's hierarchy of ``cpu``), if the mount has quotas at all."""
    fields, _, filesystem = line.partition(" - ")
    kind, _, options = filesystem.split(" ", 2)
    is_v1 = kind == "cgroup" and "cpu" in options.split(",")
    if not is_v1 and kind != "cgroup2":
        return None
    root, folder = (field.replace("\\040", " ") for field in fields.split(" ")[3:5])
    return root, Path(folder), is_v1


def _inside(path: str, root: str) -> PurePosixPath:
    """A group's path below the mounted one; a container that sees the host's paths has its own group mounted."""
    group = PurePosixPath(path)
    return group.relative_to(root) if group.is_relative_to(root) else PurePosixPath()


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
