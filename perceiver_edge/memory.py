"""How much memory this process takes, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held at once (peak resident set size); None where the system is silent."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":  # getrusage would count what the parent held before it started this program
        return status_bytes("VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def status_bytes(field: str) -> int | None:
    """A size that Linux tells of this process, such as ``VmRSS``; None where there is no ``/proc`` or no such field."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")), None)
    return None if kilobytes is None else 1024 * int(kilobytes)


def give_back_memory() -> None:
    """Return freed memory to the system. Of what a conversion frees glibc keeps hundreds of megabytes, in pieces."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
