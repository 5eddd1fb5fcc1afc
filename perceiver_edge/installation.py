"""Which TensorFlow is installed, found without importing it, and what to do where none is, or two, or a broken one.

`tensorflow` and `tensorflow-cpu` are two distributions of the same files, and no tool that installs knows: the second
lies over the first, and neither works. One that is removed takes the other's files with it.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from perceiver_edge.errors import BadInputError, MissingExtraError, PerceiverEdgeError, first_line, installing

OLDEST_TENSORFLOW = (2, 18)
"""The oldest that the tests run with (docs/install.md)."""

TENSORFLOW_PYTHONS = ((3, 10), (3, 13))
"""The first and the last Python that have a TensorFlow, and all else that the compiler needs."""

_TENSORFLOW_FILE = "tensorflow/__init__.py"
_MACHINES = {"Linux": ("x86_64", "aarch64"), "Darwin": ("arm64",), "Windows": ("AMD64",)}
"""What TensorFlow has wheels for, from `OLDEST_TENSORFLOW` on."""


@dataclass(frozen=True)
class InstalledTensorFlow:
    """A distribution that carries the package `tensorflow`.

    Attributes:
        name: of the distribution, such as ``tensorflow-cpu``.
        folder: the package's, which another distribution may have written to as well.
    """

    name: str
    version: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def require_python() -> None:
    """Make sure that this Python can read all modules but those of the runtime part.

    Raises:
        BadInputError: it is too old.
    """
    first, last = TENSORFLOW_PYTHONS
    if sys.version_info < first:
        raise BadInputError(
            "This Python is too old for all but perceiver_edge.runtime.",
            expected=f"Python {_dotted(first)} or newer; to compile, up to {_dotted(last)}",
            got=f"Python {_dotted(sys.version_info[:2])}",
            fix=f"in an environment of Python {_dotted(last)}: {installing('convert,tensorflow')}",
        )


def require_tensorflow() -> None:
    """Make sure, without importing it, that there is one TensorFlow that may work.

    Raises:
        MissingExtraError: there is none.
        BadInputError: two lie over each other, it is too old, or there can be none for this Python.
    """
    installed = sorted(installed_tensorflows(), key=lambda found: found.name)
    if not installed and find_spec("tensorflow") is None:
        raise missing_tensorflow()
    for one in installed:
        # `one` sorts first: "tensorflow" rather than "tensorflow-cpu", for others may depend on that name
        if two := [other for other in installed if other.folder == one.folder and other != one]:
            raise BadInputError(
                "Two TensorFlows are installed over each other.", expected="one of them",
                got=" and ".join(map(str, [one, *two])), where=one.folder, fix=_renew(one, [one, *two]),
            )  # fmt: skip
    if installed and _release(installed[0].version) < OLDEST_TENSORFLOW:
        raise BadInputError(
            "TensorFlow is too old.", expected=f"TensorFlow {_dotted(OLDEST_TENSORFLOW)} or newer", got=installed[0],
            where=installed[0].folder, fix=f"pip install --upgrade {installed[0].name}",
        )  # fmt: skip


def installed_tensorflows() -> set[InstalledTensorFlow]:
    """All distributions on the path that carry TensorFlow; those of other packages around it do not."""
    return set(_carriers())


def _carriers() -> Iterator[InstalledTensorFlow]:
    for distribution in distributions():
        name = distribution.metadata["Name"] or ""  # None where a removal has left an empty folder
        if re.search(r"tensorflow|\btf[-_]", name, re.IGNORECASE) and _carries_tensorflow(distribution):
            folder = Path(str(distribution.locate_file(_TENSORFLOW_FILE))).resolve().parent
            yield InstalledTensorFlow(name.lower().replace("_", "-"), distribution.version, folder)


def _carries_tensorflow(distribution: Distribution) -> bool:
    record = distribution.read_text("RECORD") or ""
    return record.startswith(f"{_TENSORFLOW_FILE},") or f"\n{_TENSORFLOW_FILE}," in record


def missing_tensorflow() -> PerceiverEdgeError:
    """The error of a machine without TensorFlow: what to install, or what to take where there is nothing to install."""
    first, last = TENSORFLOW_PYTHONS
    if not first <= sys.version_info[:2] <= last:
        return BadInputError(
            "There is no TensorFlow for this Python.",
            expected=f"Python {_dotted(first)} to {_dotted(last)} to compile (the runtime part runs here)",
            got=f"Python {_dotted(sys.version_info[:2])}",
            fix=f"in an environment of Python {_dotted(last)}: {installing('convert,tensorflow')}",
        )
    if platform.machine() not in _MACHINES.get(platform.system(), ()):
        return BadInputError(
            "There is no TensorFlow for this machine.",
            expected="; ".join(f"{system} {' or '.join(machines)}" for system, machines in _MACHINES.items()),
            got=f"{platform.system()} {platform.machine()}",
            fix="compile on one of those, and copy the bundle to this machine: the runtime part runs here",
        )
    return MissingExtraError("tensorflow", "tensorflow")


def broken_tensorflow(error: BaseException) -> PerceiverEdgeError:
    """The error of a TensorFlow that is installed and cannot be imported, or else of one that is missing."""
    installed = sorted(installed_tensorflows(), key=lambda found: found.name)
    if not installed:
        return missing_tensorflow()
    return BadInputError(
        "TensorFlow is installed and cannot be imported.", expected="a whole TensorFlow",
        got=f"{type(error).__name__}: {first_line(error)}", where=installed[0].folder,
        fix=_renew(installed[0], installed),
    )  # fmt: skip


def _renew(kept: InstalledTensorFlow, installed: list[InstalledTensorFlow]) -> str:
    """Two lines. Removing one takes files of the other: all go, one comes back, with the versions that it needs."""
    names = " ".join(found.name for found in installed)
    return f"pip uninstall --yes {names}\npip install {kept.name}=={kept.version}"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
