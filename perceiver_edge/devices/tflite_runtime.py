"""tflite-runtime 2.14 beside this Python, because it needs numpy < 2: a virtual environment in the folder of devices.

`python -m perceiver_edge.devices.tflite_runtime` makes it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from perceiver_edge.devices.elsewhere import folder, installed_version, outputs_of
from perceiver_edge.errors import EXIT_OK, NotRunError

NAME = "tflite-runtime"
_REQUIREMENTS = ("tflite-runtime==2.14.0", "numpy<2")
_LAST_PYTHON = (3, 11)
_FIX = "python3.11 -m perceiver_edge.devices.tflite_runtime"


def outputs(model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """A TFLite model's outputs ``[n, ...]``, computed there.

    Raises:
        NotRunError: the environment was not made.
        BadInputError: tflite-runtime refuses the model.
    """
    if not _python().exists():
        raise NotRunError(NAME, missing=f"a virtual environment with {' and '.join(_REQUIREMENTS)} in {_environment()}",
                          fix=_FIX)  # fmt: skip
    return outputs_of([str(_python())], model, inputs)


def version() -> str:
    (packages,) = _environment().glob("lib/python3*/site-packages")
    return installed_version(packages, NAME)


def make() -> Path:
    """Make the environment; returns its Python.

    Raises:
        NotRunError: this Python is too new for the wheel, or pip could not install it.
    """
    if sys.version_info[:2] > _LAST_PYTHON:
        raise NotRunError(NAME, missing="its wheels end at Python 3.11", fix=_FIX)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(_environment())],
        [str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_REQUIREMENTS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotRunError(NAME, missing=f"{' '.join(command)}: {done.stderr.strip()}", fix="see pip's message")
    return _python()


def _environment() -> Path:
    return folder() / NAME


def _python() -> Path:
    return _environment() / "bin" / "python"


def main() -> int:
    try:
        print(make())
    except NotRunError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
