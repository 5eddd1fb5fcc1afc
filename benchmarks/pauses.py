"""What does a pause between calls cost, and what does it cost that an inference has a thread of its own?

    python benchmarks/pauses.py FILE [FILE ...] [--pauses 100 500] [--seconds 15] [--output RESULT.json]

Each file runs twice, in two processes that are asked in turns: as `runtime.load` runs it, and in the plain engine
(the system places its threads, and ONNX Runtime's spin between calls). A turn is a burst of calls back to back, and
calls after a pause (`perceiver_edge.measure.turn`). Then each way runs in two processes at once: what they do together
where both want the same processors. With a TFLite and an ONNX file, last of all: both in one process, one after the
other, against the sum of what each takes alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine, machine_name

from perceiver_edge.measure.side_by_side import Measured, measure_side_by_side
from perceiver_edge.measure.worker import Worker, engine_worker
from perceiver_edge.provenance import tool_versions
from perceiver_edge.runtime import load, paired_ratio
from perceiver_edge.runtime.execution import resolve_execution

RESULTS = Path(__file__).parent / "results"
ENGINES = {".tflite": "litert", ".onnx": "onnxruntime"}
LOADED, PLAIN = "load", "plain engine"
TOGETHER_S, TOGETHER_ROUNDS = 1.5, 4


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure models back to back and after pauses.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument(
        "--pauses", type=float, nargs="+", default=[100.0, 500.0], metavar="MS", help="default: 100 500"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="of each file and pause (default: %(default)g)")
    parser.add_argument("--output", type=Path, default=RESULTS / f"pauses_{machine_name()}.json", metavar="RESULT.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for file in arguments.files:
        with tempfile.TemporaryDirectory() as folder:
            inputs = Path(folder, "inputs.npz")
            np.savez(inputs, **feeds_of(file))
            make = {kind: partial(worker, file, inputs, arguments.threads, kind) for kind in (LOADED, PLAIN)}
            for pause_ms in arguments.pauses:
                found = measure_side_by_side(make, rounds=None, budget_s=arguments.seconds, pause_s=pause_ms / 1000)
                rows.append({"file": file.name, "pause_ms": pause_ms} | _row(found))
                print(_line(rows[-1]), flush=True)
            rows.append({"file": file.name} | {f"two at once, {kind}": _together(make[kind]) for kind in make})
            print(rows[-1], flush=True)
    first = {suffix: next((file for file in arguments.files if file.suffix == suffix), None) for suffix in ENGINES}
    if all(first.values()):
        rows.append(_pipeline([file for file in first.values() if file], arguments.threads))
        print(rows[-1])
    about = {"benchmark": "pauses", "threads": arguments.threads, "execution": str(resolve_execution(
        threads=arguments.threads)), "machine": describe_machine(), "versions": tool_versions()}  # fmt: skip
    arguments.output.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(arguments.output)


def feeds_of(file: Path) -> dict[str, np.ndarray]:
    """One sample of random numbers by input."""
    random = np.random.default_rng(0)
    specs = load(file, threads=1).inputs
    return {name: random.standard_normal(spec.shape).astype(spec.dtype) for name, spec in specs.items()}


def worker(file: Path, inputs: Path, threads: int, kind: str) -> Worker:
    """A process that runs the file in one of the two ways."""
    return engine_worker(
        file, inputs, engine=ENGINES[file.suffix], threads=threads, batch=1, is_plain=kind == PLAIN
    )  # fmt: skip


def _row(found: dict[str, Any]) -> dict[str, Any]:
    failed = [result for result in found.values() if not isinstance(result, Measured)]
    if failed:
        raise failed[0]
    ours, plain = found[LOADED], found[PLAIN]
    row: dict[str, Any] = {
        kind: {
            "back_to_back_ms": list(result.latency.samples_ms),
            "paused_ms": list(result.paused.samples_ms),
            "processor_ms": result.processor_ms,
            "paused_processor_ms": result.paused_processor_ms,
        }
        for kind, result in found.items()
    }
    return row | {
        "paused_to_back_to_back": paired_ratio(ours.paused, ours.latency),
        "back_to_back_to_plain": paired_ratio(ours.latency, plain.latency),
        "paused_to_plain": paired_ratio(ours.paused, plain.paused),
        "processor_paused_to_back_to_back": ours.paused_processor_ms / ours.processor_ms,
    }


def _line(row: dict[str, Any]) -> str:
    def times(kind: str) -> str:
        back, paused = (np.median(row[kind][key]) for key in ("back_to_back_ms", "paused_ms"))
        used = f"{row[kind]['processor_ms']:.3g} → {row[kind]['paused_processor_ms']:.3g} processor ms"
        return f"{kind} {back:.3g} → {paused:.3g} ms, {used}"

    ratios = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if isinstance(value, float) and "_to_" in key)
    return f"{row['file']}, {row['pause_ms']:g} ms: {times(LOADED)}; {times(PLAIN)}; {ratios}"


def _together(make: Callable[[], Worker]) -> list[float]:
    """Samples a second of two processes at once, both together, round by round."""
    with make() as one, make() as other, ThreadPoolExecutor(2) as threads:
        for process in (one, other):
            process.start()
        ask: Callable[[Worker], float] = partial(Worker.samples_per_s, seconds=TOGETHER_S)
        return [sum(threads.map(ask, (one, other))) for _ in range(TOGETHER_ROUNDS)]


def _pipeline(files: list[Path], threads: int) -> dict[str, Any]:
    """Milliseconds of both in turn, and of each alone, in one process; medians of bursts, and of their ratios."""
    calls = [partial(load(file, threads=threads), feeds_of(file)) for file in files]
    bursts: dict[str, list[float]] = {"both": [], "sum": []}
    for _ in range(30):
        bursts["sum"].append(sum(_mean_ms([call]) for call in calls))
        bursts["both"].append(_mean_ms(calls))
    ratio = float(np.median(np.divide(bursts["both"], bursts["sum"])))
    return {"files": [file.name for file in files], "pipeline_ms": bursts, "pipeline_to_sum": ratio}


def _mean_ms(calls: Iterable[Callable[[], object]], count: int = 8) -> float:
    calls = list(calls)
    for call in calls:
        call()
    begun = time.perf_counter()
    for _ in range(count):
        for call in calls:
            call()
    return 1000 * (time.perf_counter() - begun) / count


if __name__ == "__main__":
    main()
