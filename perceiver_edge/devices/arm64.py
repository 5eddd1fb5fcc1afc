"""The engines' aarch64 wheels under qemu-user: real NEON kernels, an emulated processor.

`benchmarks/mobile/arm64.sh` makes the environment: Debian's Python for arm64, the wheels, and qemu.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perceiver_edge.devices.elsewhere import folder, installed_version, outputs_of
from perceiver_edge.errors import NotRunError


@dataclass(frozen=True)
class Cpu:
    """``name``: qemu's. ``part``: the number of its design in /proc/cpuinfo. ``features``: as Linux names them."""

    name: str
    title: str
    about: str
    part: str
    features: str


_ARMV8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = f"{_ARMV8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"

CPUS = (
    Cpu("cortex-a53", "Cortex-A53", "without dot-product instructions", "0xd03", _ARMV8_0),
    Cpu("cortex-a76", "Cortex-A76", "with dot-product instructions", "0xd0b", _ARMV8_2),
)

_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 100.00
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 4

"""


def outputs(model: bytes, inputs: Mapping[str, np.ndarray], *, cpu: Cpu, runtime: str) -> np.ndarray:
    """A model's outputs ``[n, ...]`` as the aarch64 wheel for its format computes them on an emulated CPU.

    Args:
        runtime: its name, for messages.

    Raises:
        NotRunError: the environment was not made.
        BadInputError: the engine refuses the model.
    """
    with interpreter(cpu, runtime=runtime) as (command, packages):
        return outputs_of(command, model, inputs, packages=packages)


@contextmanager
def interpreter(cpu: Cpu, *, runtime: str) -> Iterator[tuple[list[str], Path]]:
    """The command of a Python on an emulated CPU, and the folder of the packages that it can import.

    Raises:
        NotRunError: the environment was not made.
    """
    root = folder() / "arm64"
    if not _qemu(root).exists():
        raise NotRunError(
            runtime, missing=f"a 64-bit Arm Python and qemu-user in {root}", fix="benchmarks/mobile/arm64.sh"
        )
    with _prefix(root, cpu) as prefix:
        command = [_qemu(root), "-L", prefix, "-cpu", cpu.name, root / "usr" / "bin" / "python3"]
        yield [str(part) for part in command], _packages(root)


def version(distribution: str) -> str:
    return installed_version(_packages(folder() / "arm64"), distribution)


def _qemu(root: Path) -> Path:
    return root / "qemu-aarch64"


def _packages(root: Path) -> Path:
    return root / "site-packages"


@contextmanager
def _prefix(root: Path, cpu: Cpu) -> Iterator[Path]:
    """A folder where the emulated program finds its libraries and, in /proc and /sys, the CPU that it is to see.

    qemu shows it this machine's, and the engines' CPU probe crashes at what it cannot be.
    """
    with tempfile.TemporaryDirectory() as name:
        prefix = Path(name)
        for part in ("etc", "lib", "usr"):
            (prefix / part).symlink_to(root / part)
        (prefix / "proc").mkdir()
        (prefix / "proc" / "cpuinfo").write_text(_CPUINFO.format(features=cpu.features, part=cpu.part))
        processors = prefix / "sys" / "devices" / "system" / "cpu"
        processors.mkdir(parents=True)
        for name_ in ("possible", "present"):
            (processors / name_).write_text("0\n")
        yield prefix
