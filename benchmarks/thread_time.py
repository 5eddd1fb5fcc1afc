"""How much processor time do model files take, on one thread, in turns? For machines that others use, too.

    python benchmarks/thread_time.py RESULT.json FILE [FILE ...] [--data SAMPLES.npz] [--seconds 30]

The time is that of the calling thread, on which both engines run a model of one thread. Other work on the machine
hardly changes it, where it can double the time on a clock: caches and memory are still shared. Ratios are taken within
rounds. The folder of a file says what made it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from machine import describe_machine

from perceiver_edge.provenance import tool_versions
from perceiver_edge.runtime import load


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure the processor time of models, on one thread, in turns.")
    parser.add_argument("result", type=Path, metavar="RESULT.json")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="ratios are to the first of its format")
    parser.add_argument("--data", type=Path, help="an .npz with 'input' (default: random numbers)")
    parser.add_argument("--seconds", type=float, default=30.0, help="default: %(default)g")
    arguments = parser.parse_args()
    runners = {f"{file.parent.name}/{file.name}": load(file, threads=1) for file in arguments.files}
    times_ms: dict[str, list[float]] = {name: [] for name in runners}
    sample = np.load(arguments.data)["input"][:1].astype(np.float32) if arguments.data else None
    feeds = {name: _feeds(runner, sample) for name, runner in runners.items()}
    for name, runner in runners.items():
        runner(feeds[name])
    until = time.monotonic() + arguments.seconds
    while time.monotonic() < until:
        for name, runner in runners.items():
            start = time.thread_time()
            runner(feeds[name])
            times_ms[name].append(round(1e3 * (time.thread_time() - start), 4))
    rows = [
        {"file": name, "thread_ms": times, "median_ms": float(np.median(times)), "ratio": _ratio(name, times_ms)}
        for name, times in times_ms.items()
    ]
    about = {"benchmark": "thread_time", "threads": 1, "machine": describe_machine(), "versions": tool_versions()}
    # In one line: a number a line would be tens of thousands.
    arguments.result.write_text(json.dumps(about | {"rows": rows}, ensure_ascii=False) + "\n", "utf-8")
    for row in rows:
        print(f"{row['file']:44} {row['median_ms']:9.2f} ms   {row['ratio']:.3f}")


def _feeds(runner: object, sample: np.ndarray | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: sample if sample is not None else rng.standard_normal(spec.shape).astype(spec.dtype)
        for name, spec in runner.inputs.items()
    }


def _ratio(name: str, times_ms: dict[str, list[float]]) -> float:
    """Of the first file of the same format to this one: above 1, this one is that many times as fast."""
    first = next(other for other in times_ms if Path(other).suffix == Path(name).suffix)
    return round(float(np.median(np.divide(times_ms[first], times_ms[name]))), 4)


if __name__ == "__main__":
    main()
