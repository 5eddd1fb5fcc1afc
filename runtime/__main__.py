"""python -m perceiver_edge.runtime MODEL INPUTS OUTPUT: run a model on a file of samples, with one engine."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from perceiver_edge.errors import EXIT_BAD_INPUT, BadInputError, PerceiverEdgeError
from perceiver_edge.files.arrays import open_npz
from perceiver_edge.runtime.loading import load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perceiver_edge.runtime", description="Run a model on samples.")
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("inputs", type=Path, help="an .npz with [n, ...] for each input, by its name")
    parser.add_argument("output", type=Path, help="the file to write, as NumPy's .npy: [n, ...]")
    parser.add_argument("--threads", type=int, help="for the engine (default: the processors it may use, at most 4)")
    arguments = parser.parse_args()
    try:
        _run(arguments.model, arguments.inputs, arguments.output, threads=arguments.threads)
    except PerceiverEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # of whatever fills a disk; Python's own exit code is that of a failed gate
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def _run(model: Path, inputs: Path, output: Path, *, threads: int | None) -> None:
    if output.exists() and not output.is_file():
        raise BadInputError("The output cannot be written.", expected="the name of a file", where=output)
    runner = load(model, threads=threads)
    if len(runner.outputs) != 1:
        raise BadInputError(
            "The model has several outputs, and the file is for one.", got=", ".join(runner.outputs), where=model
        )
    try:  # a file beside it, before the work: what is there stays until its successor is whole
        descriptor, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise BadInputError("The output cannot be written.", got=error, where=output) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, runner.batch(open_npz(inputs)))  # type: ignore[arg-type]  # one output is an array
        _give_usual_rights(Path(name))
        Path(name).replace(output)
    except BaseException:
        Path(name).unlink()
        raise


def _give_usual_rights(file: Path) -> None:
    """A temporary file is for its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)


if __name__ == "__main__":
    main()
