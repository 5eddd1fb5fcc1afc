"""Where a measurement was taken: whoever compares two results needs to know."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from perceiver_edge.provenance import processor
from perceiver_edge.runtime.processors import usable_processors

_INSTRUCTIONS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8",  # x86-64
    "asimd", "asimddp", "i8mm", "bf16", "sve",  # 64-bit ARM
)  # fmt: skip
"""Those that the engines choose their float32 and int8 kernels by."""


def describe_machine() -> dict[str, object]:
    """CPU, the instruction sets that matter here, processors, and how busy the machine was (load average, 1 minute)."""
    fields = _cpu_fields()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "cpu": processor(),
        "architecture": platform.machine(),
        "instructions": [name for name in _INSTRUCTIONS if name in flags],
        "processors": len(usable_processors()),
        "system": f"{platform.system()} {_number(platform.release())}",
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def machine_name() -> str:
    """The processor as a part of a file's name, such as ``amd-epyc`` or ``intel-xeon-processor``."""
    words = re.sub(r"\((R|TM)\)|@.*", " ", processor(), flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _number(release: str) -> str:
    """The kernel's number, without whose build it is: ``6.1.0-18-amd64`` → ``6.1.0``."""
    found = re.match(r"[0-9.]*[0-9]", release)
    return found[0] if found else ""


def _cpu_fields() -> dict[str, str]:
    """The first processor's part of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def available_bytes() -> int | None:
    """Of memory that nobody needs at the moment; None where the system does not tell (it is read from Linux's
    ``/proc``)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
