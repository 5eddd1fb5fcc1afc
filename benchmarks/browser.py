"""How fast do a bundle's artefacts run in a browser, on one WASM thread and on several?

    python benchmarks/browser.py BUNDLE                 measure
    python benchmarks/browser.py --table RESULT.json    print a result as a Markdown table

Needs perceiver-edge[browser,verify], Chromium with its driver, and the npm packages (docs/browser.md).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK, BadInputError, counted

if TYPE_CHECKING:
    from perceiver_edge.bundle.folder import Bundle

BENCHMARK = "browser"
ENGINES = {"tflite": "litertjs", "onnx": "onnxruntime-web"}
_COLUMNS = ("file", "engine", "MB", "threads", "ms", "p10–p90", "first ms", "rel. L2", "allowed")
_TEXT_COLUMNS = {"file", "engine"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/browser.py",
        description="Time a bundle's artefacts in a headless Chromium, and compare them with the float reference.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a folder made by perceiver_edge.convert")
    what.add_argument("--table", type=Path, metavar="RESULT.json", help="print a result as a Markdown table, and end")
    parser.add_argument("--samples", type=int, default=100, help="held-out samples, one a call (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of WASM (default: 1 2)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="default: benchmarks/results/browser_<model>.json"
    )
    arguments = parser.parse_args(argv)
    if arguments.samples < 2:
        parser.error("--samples is at least 2: the first call is not among those whose median is told")
    return cli.run(lambda: _table(arguments.table) if arguments.table else _measure(arguments))


def _table(path: Path) -> int:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        print(_markdown(result))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInputError(
            "The result cannot be read.", expected=f"a JSON file that {BENCHMARK}.py wrote", got=error, where=path
        ) from error
    return EXIT_OK


def _measure(arguments: argparse.Namespace) -> int:
    from machine import describe_machine

    from perceiver_edge.bundle.folder import read_bundle
    from perceiver_edge.demo.packages import VERSIONS
    from perceiver_edge.provenance import tool_versions

    bundle = read_bundle(arguments.bundle)
    manifest = bundle.manifest
    output = arguments.output or Path(__file__).parent / "results" / f"{BENCHMARK}_{manifest.name}.json"
    try:
        output.touch()  # before the long work, not after it
    except OSError as error:
        raise BadInputError("The result cannot be written.", got=error, where=output) from error
    machine = describe_machine()
    rows = list(_rows(bundle, num_samples=arguments.samples, threads=arguments.threads))
    result = {
        "benchmark": BENCHMARK,
        "model": manifest.name,
        "weights_fingerprint": manifest.weights_fingerprint,
        "is_random_weights": manifest.is_random_weights,
        "input_shape": "×".join(map(str, (*manifest.input_spec.shape, manifest.config.input_channels))),
        "num_samples": rows[0]["calls"],
        "browser": rows[0]["browser"],
        "machine": machine,
        "versions": {**tool_versions(), **VERSIONS},
        "rows": [{key: value for key, value in row.items() if key != "browser"} for row in rows],
    }
    output.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    print(f"{_markdown(result)}\n{output}")
    return EXIT_OK


def _rows(bundle: Bundle, *, num_samples: int, threads: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One of each artefact and number of threads, each in a browser of its own."""
    from perceiver_edge.bundle.evidence import read_gates, read_held_out
    from perceiver_edge.demo.browser import browser_outputs
    from perceiver_edge.progress import on_console
    from perceiver_edge.proof.metrics import relative_l2

    held_out = read_held_out(bundle)
    inputs = {name: values[:num_samples] for name, values in held_out.inputs.items()}
    artefacts = bundle.manifest.artefacts
    gates, _ = read_gates(bundle)
    progress = on_console(quiet=False)
    for name, artefact in artefacts.items():
        for count in threads:
            with progress(f"{name}, {counted(count, 'thread')}"):
                run = browser_outputs(bundle.read(name), inputs, engine=ENGINES[artefact.format], threads=count)
            first_ms, *times_ms = run.times_ms
            yield {
                "file": name,
                "engine": ENGINES[artefact.format],
                "precision": artefact.precision,
                "size_bytes": artefact.size_bytes,
                "threads": count,
                "calls": len(run.times_ms),
                "first_ms": first_ms,
                **{
                    f"{key}_ms": float(np.percentile(times_ms, q))
                    for key, q in (("median", 50), ("p10", 10), ("p90", 90))
                },
                "relative_l2": relative_l2(held_out.reference[:num_samples], run.outputs),
                "relative_l2_bound": gates[artefact.precision].relative_l2,
                "browser": run.browser,
            }


def _markdown(result: Mapping[str, Any]) -> str:
    from presentation import megabytes, milliseconds

    lines = [_COLUMNS, [":--" if column in _TEXT_COLUMNS else "--:" for column in _COLUMNS]]
    for row in result["rows"]:
        lines.append(
            (
                row["file"], row["engine"], megabytes(row["size_bytes"]), str(row["threads"]),
                milliseconds(row["median_ms"]), f"{milliseconds(row['p10_ms'])}–{milliseconds(row['p90_ms'])}",
                milliseconds(row["first_ms"]), f"{row['relative_l2']:.2g}", f"{row['relative_l2_bound']:g}",
            )
        )  # fmt: skip
    machine = result["machine"]
    weights = ", random weights" if result["is_random_weights"] else ""
    conditions = (
        f"{result['model']}{weights}, {result['input_shape']} input, {result['browser']}, {machine['cpu']}, "
        f"{machine['processors']} processors, {result['num_samples']} held-out samples, one a call"
    )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n{conditions}."


if __name__ == "__main__":
    sys.exit(main())
