"""How do our artefacts compare, on one GPU, with perceiver-pytorch in half precision on the same weights?

    python benchmarks/gpu.py [--photos FOLDER]        measure
    python benchmarks/gpu.py --table RESULT.json      print a result as Markdown tables

Every contender is held to the float32 reference first; only then is it timed, in turns with the others. A contender
that is not here is a row that says so: without a GPU that is all of them.

Needs besides perceiver-edge[convert]: onnxruntime-gpu in place of onnxruntime, torch with CUDA, perceiver-pytorch, and
for LiteRT a Vulkan loader and driver.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK

_PRESETS, _BATCHES = ("readme", "paper"), (1, 32)
_ROUNDS, _SAMPLES = 50, 8


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/gpu.py",
        description="Compare, on a GPU, our artefacts with perceiver-pytorch in half precision.",
    )
    parser.add_argument("--table", type=Path, metavar="RESULT.json", help="print a result as Markdown, and end")
    parser.add_argument("--models", nargs="+", default=_PRESETS, metavar="PRESET", help="default: readme paper")
    parser.add_argument("--batches", nargs="+", type=cli.positive, default=_BATCHES, metavar="N", help="default: 1 32")
    parser.add_argument("--rounds", type=cli.positive, default=_ROUNDS, metavar="N", help="default: %(default)s")
    parser.add_argument("--samples", type=cli.positive, default=_SAMPLES, metavar="N", help="default: %(default)s")
    parser.add_argument("--photos", default="random", metavar="FOLDER", help="default: random numbers")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "gpu.json", metavar="FILE.json",
        help="an .svg is written beside it (default: benchmarks/results/gpu.json)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _table(arguments.table) if arguments.table else _measure(arguments))


def _table(path: Path) -> int:
    from gpu_presentation import BENCHMARK, markdown
    from presentation import read_result

    print(markdown(read_result(path, BENCHMARK)))
    return EXIT_OK


def _measure(arguments: argparse.Namespace) -> int:
    from gpu_contenders import contenders
    from gpu_presentation import BENCHMARK, bar_chart, markdown
    from gpu_rows import compare
    from gpu_subject import make_subject
    from machine import describe_machine

    from perceiver_edge.progress import on_console
    from perceiver_edge.provenance import tool_versions

    progress = on_console(quiet=False)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    rows, ratios = [], []
    for preset in arguments.models:
        for batch in arguments.batches:
            subject = make_subject(
                preset, batch=batch, samples=arguments.photos, num_samples=arguments.samples, progress=progress
            )
            found, compared = compare(contenders(), subject, rounds=arguments.rounds, progress=progress)
            rows += found
            ratios += [{"model": preset, "batch": batch, **one} for one in compared]
    result = {
        "benchmark": BENCHMARK,
        "machine": {**describe_machine(), "gpu": _gpu()},
        "versions": tool_versions(),
        "samples": Path(arguments.photos).name,  # a result is shown to others, this machine's folders are not
        "num_samples": arguments.samples,
        "rounds": arguments.rounds,
        "rows": rows,
        "ratios": ratios,
    }
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    arguments.output.with_suffix(".svg").write_text(bar_chart(result), encoding="utf-8")
    print(f"{markdown(result)}\n\n{arguments.output}\n{arguments.output.with_suffix('.svg')}")
    return EXIT_OK


def _gpu() -> str | None:
    """Name and driver of the first NVIDIA GPU."""
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
