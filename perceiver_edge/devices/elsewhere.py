"""Run a model in another Python that has numpy and one engine, and nothing of this package."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from perceiver_edge import errors, runtime
from perceiver_edge.cache import user_folder
from perceiver_edge.errors import BadInputError, NotRunError

FOLDER_VARIABLE = "PERCEIVER_EDGE_DEVICES"
"""Names the folder in which the environments of devices are made and found."""

_LAST_WORDS = 400
"""Characters of a failed process's output that a message shows."""


def folder() -> Path:
    """Where those environments are: what the variable says, else ``perceiver_edge`` in the user's cache folder.

    Raises:
        NotRunError: the variable says nothing, and this user has no such folder.
    """
    try:
        return Path(os.environ.get(FOLDER_VARIABLE) or user_folder())
    except BadInputError as error:
        missing = "a folder of this user, in which its environment could be"
        raise NotRunError("A device", missing=missing, fix=f"set HOME or {FOLDER_VARIABLE}") from error


def outputs_of(
    python: Sequence[str], model: bytes, inputs: Mapping[str, np.ndarray], *, packages: Path | None = None
) -> np.ndarray:
    """The model's outputs ``[n, ...]`` as another Python computes them.

    Args:
        python: the command that starts it.
        inputs: by name, ``[n, ...]``.
        packages: a folder of packages to import from, beside that Python's own.

    Raises:
        BadInputError: the process failed; the message has its last words.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "model").write_bytes(model)
        np.savez(place / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy's stub takes a name for a keyword
        copy_runtime(place / "code")
        files = [str(place / file) for file in ("model", "inputs.npz", "output.npy")]
        path = os.pathsep.join(str(folder) for folder in (place / "code", packages) if folder)
        done = subprocess.run(
            [*python, "-m", "perceiver_edge.runtime", *files],
            env={**os.environ, "PYTHONPATH": path, "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=place, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise BadInputError(
                "The model did not run there.", expected="exit code 0",
                got=f"{done.returncode}: {done.stderr.strip()[-_LAST_WORDS:]}", where=" ".join(python),
            )  # fmt: skip
        return np.load(place / "output.npy")


def copy_runtime(destination: Path) -> None:
    """This version's `perceiver_edge.runtime` and what it imports: some modules of the package, and two folders."""
    package = Path(errors.__file__).parent
    (destination / "perceiver_edge").mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "errors.py", "installation.py", "registration.py"):
        shutil.copy(package / name, destination / "perceiver_edge" / name)
    for name, folder_ in (("runtime", Path(runtime.__file__).parent), ("files", package / "files")):
        shutil.copytree(folder_, destination / "perceiver_edge" / name, ignore=shutil.ignore_patterns("__pycache__"))


def installed_version(packages: Path, name: str) -> str:
    """The version of a distribution in a folder of packages, read from the name of its ``.dist-info``."""
    (found,) = packages.glob(f"{name.replace('-', '_')}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]
