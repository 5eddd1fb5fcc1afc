"""python -m perceiver_edge.runtime MODEL INPUTS OUTPUT: run a model on a file of samples, with one engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from perceiver_edge.errors import BadInputError, PerceiverEdgeError
from perceiver_edge.files.arrays import open_npz
from perceiver_edge.runtime.loading import load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perceiver_edge.runtime", description="Run a model on samples.")
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("inputs", type=Path, help="an .npz with [n, ...] for each input, by its name")
    parser.add_argument("output", type=Path, help="the .npy to write: [n, ...]")
    parser.add_argument("--threads", type=int, help="for the engine (default: the processors it may use, at most 4)")
    arguments = parser.parse_args()
    try:
        _write(arguments.output, load(arguments.model, threads=arguments.threads).batch(open_npz(arguments.inputs)))
    except PerceiverEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _write(file: Path, outputs: np.ndarray | dict[str, np.ndarray]) -> None:
    if isinstance(outputs, dict):
        raise BadInputError("The model has several outputs, and the file is for one.", got=", ".join(outputs))
    try:
        np.save(file, outputs)
    except OSError as error:
        raise BadInputError("The output cannot be written.", got=error.strerror, where=file) from error


if __name__ == "__main__":
    main()
