"""A model in a process of its own, timed by that process, so that its memory and its threads are its own too.

The parent (`Worker`) asks in lines of JSON, the child (`serve`) answers in lines of JSON. The child holds the clock, so
the pipe is in no figure; between two questions it waits in a read and takes no processor time.

Needs numpy alone: whatever environment has an engine can serve. As a program it serves the engines of `runtime`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.measure.turn import PAUSE_S, Turn, take_turn, timed_ms
from perceiver_edge.memory import status_bytes
from perceiver_edge.runtime import batches
from perceiver_edge.runtime.child import killed_late, program

Call = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Feeds by name, batch dimension included → the output, batch dimension included."""


class WorkerError(PerceiverEdgeError):
    """The model's process failed; the message has its last words."""


@dataclass(frozen=True)
class Started:
    """``load_ms``: from a file to a model that is ready. ``first_ms``: the first inference after that."""

    load_ms: float
    first_ms: float


class Worker:
    """The parent's end; a context that ends the process."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """
        Args:
            command: starts a program that calls `serve`.
            environment: variables to set for it, beside those of this process.

        Raises:
            WorkerError: it cannot be started.
        """
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise WorkerError("A worker cannot be started.", got=error, where=" ".join(command)) from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> Started:
        """Load the model and run it once, within `child.LONGEST_S`."""
        with killed_late(self._process):
            return Started(**self._ask("start"))

    def turn(self, pause_s: float = PAUSE_S) -> Turn:
        """A burst of inferences, and some after a pause."""
        return Turn(**self._ask("turn", pause_s=pause_s))

    def samples_per_s(self, seconds: float) -> float:
        """Of all streams of `serve` together, each asking again as soon as it has its answer."""
        return self._ask("stream", seconds=seconds)

    def outputs(self) -> np.ndarray:
        """The model's answers to all samples, ``[samples, ...]`` float32."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "outputs.npy")
            self._ask("outputs", path=str(path))
            return np.load(path)

    def peak_bytes(self) -> int | None:
        """Most memory that the process has held so far above what it held before the model was loaded; None where the
        system does not tell (it is read from Linux's ``/proc``)."""
        return self._ask("peak")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _ask(self, what: str, **arguments: str | float) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:  # it ended before it was asked
            answer = ""
        if not answer:
            raise WorkerError("A worker ended before it answered.", got=self._last_words(), where=what)
        return json.loads(answer)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        killed = ", killed (out of memory?)" if code == -9 else ""
        return f"exit code {code}{killed}: {lines[-1] if lines else 'it said nothing'}"


def engine_worker(
    file: Path, inputs: Path, *, engine: str, threads: int, batch: int, streams: int = 1, is_plain: bool = False,
    weight_cache: Path | None = None,
) -> Worker:  # fmt: skip
    """A process of this module as a program, which serves ``file``; for the arguments see `main`."""
    command = [*program("perceiver_edge.measure.worker"), file, inputs, "--engine", engine]
    command += ["--threads", threads, "--batch", batch, "--streams", streams, *["--plain"] * is_plain]
    if weight_cache is not None:
        command += ["--weight-cache", weight_cache]
    return Worker(list(map(str, command)))


def serve(open_model: Callable[[], Call], inputs: Path, *, batch: int = 1, streams: int = 1) -> None:
    """Answer the parent until it hangs up. Import the engine before: memory counts from here.

    Args:
        open_model: loads the model.
        inputs: an ``.npz`` of arrays ``[samples, ...]`` by input name.
        batch: samples a call; past the end the last one is repeated.
        streams: models that are opened for `Worker.samples_per_s`, each with a thread that asks it.
    """
    answers = _own_stdout()
    with np.load(inputs) as archive:
        samples = {name: archive[name] for name in archive.files}
    count = len(next(iter(samples.values())))

    first = batches.batch(samples, 0, batch)
    before = _reset_peak()
    call: Call | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if request["do"] == "start":
            begun = time.perf_counter()
            call = open_model()
            load_ms = 1000 * (time.perf_counter() - begun)
            answer = {"load_ms": load_ms, "first_ms": timed_ms(functools.partial(call, first))}
        elif request["do"] == "peak":
            peak = status_bytes("VmHWM")
            answer = None if peak is None or before is None else peak - before
        else:
            assert call is not None, "start comes first"
            if request["do"] == "turn":
                answer = asdict(take_turn(functools.partial(call, first), pause_s=request["pause_s"]))
            elif request["do"] == "stream":
                others = [open_model() for _ in range(streams - 1)]
                answer = batch * _calls_per_s([call, *others], first, request["seconds"])
            else:
                answered = [call(batches.batch(samples, start, batch)) for start in range(0, count, batch)]
                np.save(request["path"], np.concatenate(answered)[:count])
        print(json.dumps(answer), file=answers, flush=True)


def _calls_per_s(calls: Sequence[Call], feeds: dict[str, np.ndarray], seconds: float) -> float:
    def stream(call: Call) -> float:
        call(feeds)  # the first one allocates
        together.wait()
        begun, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begun) < seconds or not count:
            call(feeds)
            count += 1
        return count / elapsed

    together = threading.Barrier(len(calls))
    with ThreadPoolExecutor(len(calls)) as threads:
        return sum(threads.map(stream, calls))


def _own_stdout() -> IO[str]:
    """Standard output for answers alone; what an engine prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _reset_peak() -> int | None:
    """Forget the peak so far (Linux); return what the process holds now, bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None
    return status_bytes("VmRSS")


def main(argv: Sequence[str] | None = None) -> int:
    from perceiver_edge.runtime import load
    from perceiver_edge.runtime.engines import ENGINES

    parser = argparse.ArgumentParser(
        prog="python -m perceiver_edge.measure.worker",
        description="Serve one model to a parent process; see the module.",
    )
    parser.add_argument("file", type=Path, help="a .tflite or .onnx file")
    parser.add_argument("inputs", type=Path, help="an .npz of samples by input name")
    parser.add_argument("--engine", required=True, choices=ENGINES)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True, help="samples that the model takes at once")
    parser.add_argument("--streams", type=int, default=1, help="models that run at once, for the throughput")
    parser.add_argument("--plain", action="store_true", help="threads placed and spinning as the engine has it")
    parser.add_argument("--weight-cache", type=Path, metavar="FOLDER", help="keep packed weights there; for litert")
    arguments = parser.parse_args(argv)
    # before memory is counted: the engine's own libraries are no part of a model's peak
    importlib.import_module(ENGINES[arguments.engine].library)
    if arguments.weight_cache is not None:
        importlib.import_module("ai_edge_litert.compiled_model")

    def open_model() -> Call:
        runner = load(
            arguments.file, engine=arguments.engine, threads=arguments.threads, weight_cache=arguments.weight_cache,
            placement="system" if arguments.plain else "apart",
            idle="spin" if arguments.plain and arguments.engine == "onnxruntime" else "sleep",
        )  # fmt: skip
        return lambda feeds: np.asarray(runner(feeds))

    serve(open_model, arguments.inputs, batch=arguments.batch, streams=arguments.streams)
    return 0


if __name__ == "__main__":
    sys.exit(main())
