"""This very Python and its engines on an emulated x86-64 processor, under qemu-user: the kernels that older CPUs run.

Engines choose their int8 kernels by what the processor has. qemu shows them another one, instruction by instruction
exact; its times mean nothing. It emulates neither AVX512 nor any VNNI: those kernels are what a processor that has
them runs natively. Needs Linux on x86-64 and Debian's `qemu-user` (7.2 or newer; older ones have no AVX).
"""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from perceiver_edge.devices.elsewhere import outputs_of
from perceiver_edge.errors import NotRunError

_QEMU = "qemu-x86_64"


@dataclass(frozen=True)
class Cpu:
    """``name``: qemu's, in lower case."""

    name: str
    title: str
    about: str


CPUS = (
    Cpu("nehalem", "Nehalem", "SSE4.2, without AVX"),
    Cpu("haswell", "Haswell", "AVX2, without VNNI"),
)


def outputs(model: bytes, inputs: Mapping[str, np.ndarray], *, cpu: Cpu, runtime: str) -> np.ndarray:
    """A model's outputs ``[n, ...]`` as the installed engine for its format computes them on an emulated CPU.

    Args:
        runtime: its name, for messages.

    Raises:
        NotRunError: qemu is not installed, or this machine is no x86-64 Linux.
        BadInputError: the engine refuses the model.
    """
    return outputs_of(interpreter(cpu, runtime=runtime), model, inputs)


def interpreter(cpu: Cpu, *, runtime: str) -> list[str]:
    """The command of this very Python on an emulated CPU.

    Raises:
        NotRunError: qemu is not installed, or this machine is no x86-64 Linux.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotRunError(runtime, missing="an x86-64 Linux machine", fix="run it on one")
    qemu = shutil.which(_QEMU)
    if qemu is None:
        raise NotRunError(runtime, missing=f"{_QEMU}, which runs other processors' code", fix="apt install qemu-user")
    return [qemu, "-cpu", cpu.title, sys.executable]
