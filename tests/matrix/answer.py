"""python answer.py BUNDLE/MODEL: what a model answers to its bundle's held-out samples, as one line of JSON.

For environments that have nothing but numpy, one engine, and perceiver_edge.
"""

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from perceiver_edge.runtime import load

PACKAGES = ("ai-edge-litert", "onnxruntime", "tflite-runtime", "numpy")
PREFIX = "input."


def installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main(model: Path) -> None:
    runner = load(model)
    with np.load(model.parent / "held_out.npz") as held:
        inputs = {name[len(PREFIX) :]: held[name] for name in held.files if name.startswith(PREFIX)}
        reference, labels = held["reference"], held["labels"]
    outputs = np.asarray(runner.batch(inputs))
    accuracy = float((outputs.argmax(-1) == labels).mean())
    relative_l2 = float(np.linalg.norm(outputs - reference) / np.linalg.norm(reference))
    compilers = [name for name in ("tensorflow", "keras", "onnx", "torch") if name in sys.modules]
    print(json.dumps({
        "python": platform.python_version(), "engine": runner.engine, "installed": installed(),
        "compilers": compilers, "samples": len(labels), "accuracy": accuracy, "relative_l2": relative_l2,
    }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
