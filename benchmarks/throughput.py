"""How many samples a second does a server answer: by batch, by streams, and with OpenVINO's THROUGHPUT hint beside?

    python benchmarks/throughput.py FILE [FILE ...] [--threads 2] [--streams 1 2] [--output RESULT.json]

A file is a .tflite or .onnx artefact of any batch, or an OpenVINO .xml. Each is served by one process for each number
of streams: so many models in one process, which share the threads (OpenVINO: requests of one model, compiled with its
THROUGHPUT hint), and each is asked again as soon as it has answered. All processes are asked in turns. Ours run as
`runtime.load` runs them; give a plain file, such as tf2onnx's, for what the engine makes of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from contenders import peer_worker
from environments import CACHE, python_of
from machine import describe_machine, machine_name
from pauses import ENGINES, feeds_of

from perceiver_edge.measure.worker import Worker, engine_worker
from perceiver_edge.provenance import tool_versions

RESULTS = Path(__file__).parent / "results"
TURN_S, TURNS = 1.0, 7


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Measure samples a second, in turns.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--threads", type=int, default=2, help="of all streams together (default: %(default)s)")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--cache", type=Path, default=CACHE, help="the peers' environments (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=RESULTS / f"throughput_{machine_name()}.json", metavar="RESULT.json"
    )
    arguments = parser.parse_args()
    if not any(file.suffix in ENGINES for file in arguments.files):
        parser.error("OpenVINO's files take the first other file's samples: name a .tflite or .onnx file too")
    if max(arguments.streams) > arguments.threads:
        parser.error("a stream has at least one thread: no more --streams than --threads")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        rows: list[dict[str, Any]] = []
        workers: list[Worker] = []
        for index, (file, feeds) in enumerate(_feeds_of_all(arguments.files).items()):
            inputs = Path(folder, f"{index}.npz")
            np.savez(inputs, **feeds)
            batch = len(next(iter(feeds.values())))
            for streams in arguments.streams:
                rows.append({"file": f"{file.parent.name}/{file.name}", "batch": batch, "streams": streams})
                worker = _worker(file, inputs, batch, streams=streams, threads=arguments.threads, cache=arguments.cache)
                workers.append(processes.enter_context(worker))
                worker.start()
        turns = np.array([[worker.samples_per_s(TURN_S) for worker in workers] for _ in range(TURNS)])
    for row, rates in zip(rows, turns.T, strict=True):
        row |= {"samples_per_s": list(rates), "to_first": float(np.median(rates / turns[:, 0]))}
        print(f"{row['file']:44} batch {row['batch']:3} × {row['streams']}  {np.median(rates):8.1f} a second "
              f"({min(rates):.1f}–{max(rates):.1f})  {row['to_first']:.2f}")  # fmt: skip
    about = {"benchmark": "throughput", "threads": arguments.threads, "machine": describe_machine()}
    result = about | {"versions": tool_versions(), "rows": rows}
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(arguments.output)


def _feeds_of_all(files: list[Path]) -> dict[Path, dict[str, np.ndarray]]:
    """One call's worth for each file; OpenVINO's are the first other file's samples."""
    feeds = {file: feeds_of(file) for file in files if file.suffix in ENGINES}
    first = next(iter(feeds.values()))
    return {file: feeds.get(file) or {name: values[:1] for name, values in first.items()} for file in files}


def _worker(file: Path, inputs: Path, batch: int, *, streams: int, threads: int, cache: Path) -> Worker:
    if file.suffix not in ENGINES:
        python = python_of("openvino", cache)
        return peer_worker(python, "openvino", "throughput", file, inputs=inputs, threads=threads, streams=streams)
    return engine_worker(
        file, inputs, engine=ENGINES[file.suffix], threads=threads // streams, batch=batch, streams=streams
    )


if __name__ == "__main__":
    main()
