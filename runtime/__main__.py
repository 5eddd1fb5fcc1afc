"""python -m perceiver_edge.runtime MODEL INPUTS OUTPUT: run a model on a file of samples, with one engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime.loading import load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perceiver_edge.runtime", description="Run a model on samples.")
    parser.add_argument("model", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("inputs", type=Path, help="an .npz with [n, ...] for each input, by its name")
    parser.add_argument("output", type=Path, help="the .npy to write: [n, ...]")
    parser.add_argument("--threads", type=int, help="for the engine (default: the processors it may use, at most 4)")
    arguments = parser.parse_args()
    try:
        with np.load(arguments.inputs) as archive:
            np.save(arguments.output, np.asarray(load(arguments.model, threads=arguments.threads).batch(dict(archive))))
    except PerceiverEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
