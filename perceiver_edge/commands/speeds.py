"""What `benchmark` measures of a bundle: times, memory, throughput, and time by operator."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from perceiver_edge.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from perceiver_edge.bundle.folder import Bundle
    from perceiver_edge.measure.profile import OperatorTime
    from perceiver_edge.measure.worker import Worker

_BUDGET_S = 10.0
_STREAM_S, _STREAM_ROUNDS = 1.0, 3
PHONE = "benchmark_model"


@dataclass(frozen=True)
class Row:
    """One artefact in one engine.

    ``p50_ms``, ``p90_ms``: of one inference back to back with others; an average where ``p90_ms`` is None and the tool
    prints no more. ``paused_ms``: after a pause. ``processor_ms``, ``paused_processor_ms``: processor time of one
    inference, with what the threads do till the next (medians, see `perceiver_edge.measure.turn`).
    """

    artefact: str
    engine: str
    load_ms: float
    first_ms: float
    p50_ms: float
    p90_ms: float | None
    peak_bytes: int | None
    paused_ms: float | None = None
    processor_ms: float | None = None
    paused_processor_ms: float | None = None


@dataclass(frozen=True)
class Throughput:
    """One artefact in one engine: ``streams`` models in one process, of ``threads`` each, all asked all the time."""

    artefact: str
    engine: str
    streams: int
    threads: int
    samples_per_s: float


def measure(bundle: Bundle, *, threads: int, pause_s: float) -> list[Row]:
    """Every artefact in every engine for its format, in turns.

    Args:
        pause_s: before each inference that is measured after a pause.

    Raises:
        MissingExtraError: no engine is installed for an artefact.
        WorkerError: an engine failed on an artefact.
    """
    from perceiver_edge.measure.side_by_side import measure_side_by_side
    from perceiver_edge.measure.worker import WorkerError

    with tempfile.TemporaryDirectory() as folder:
        inputs = _first_samples(bundle, Path(folder))
        pairs = [(name, engine) for name in bundle.manifest.artefacts for engine in _engines(bundle, name)]
        workers = {
            f"{name} {engine}": functools.partial(_worker, bundle, name, engine, inputs, threads)
            for name, engine in pairs
        }
        measured = measure_side_by_side(workers, rounds=None, budget_s=_BUDGET_S, pause_s=pause_s)
    rows = []
    for (name, engine), one in zip(pairs, measured.values(), strict=True):
        if isinstance(one, WorkerError):
            raise one
        rows.append(
            Row(
                name, engine, one.started.load_ms, one.started.first_ms, one.latency.median_ms, one.latency.p90_ms,
                one.peak_bytes, one.paused.median_ms, one.processor_ms, one.paused_processor_ms,
            )
        )  # fmt: skip
    return rows


def throughput(bundle: Bundle, *, threads: int, streams: int) -> list[Throughput]:
    """Every artefact in every engine for its format: one model with all threads, and ``streams`` that share them.

    Raises:
        MissingExtraError: no engine is installed for an artefact.
        WorkerError: an engine failed on an artefact.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = _first_samples(bundle, Path(folder))
        for name in bundle.manifest.artefacts:
            for engine in _engines(bundle, name):
                for count in sorted({1, streams}):
                    each = max(threads // count, 1)
                    with _worker(bundle, name, engine, inputs, each, streams=count) as worker:
                        worker.start()
                        rate = median(worker.samples_per_s(_STREAM_S) for _ in range(_STREAM_ROUNDS))
                    rows.append(Throughput(name, engine, count, each, rate))
    return rows


def measure_on_phone(bundle: Bundle, binary: Path, *, threads: int) -> tuple[str, list[Row]]:
    """(the phone, every TFLite artefact on it).

    Raises:
        NotRunError: no adb or no phone. BadInputError: no TFLite artefact, or the tool failed.
    """
    from perceiver_edge.measure.android import require_phone, run_on_phone

    names = [name for name, artefact in bundle.manifest.artefacts.items() if artefact.format == "tflite"]
    if not names:
        raise BadInputError(
            "benchmark_model runs TFLite models only.", expected="a bundle with a .tflite file",
            got=", ".join(bundle.manifest.artefacts), where=bundle.path,
        )  # fmt: skip
    phone = require_phone()
    rows = []
    for name in names:
        t = run_on_phone(phone, binary, bundle.path / name, threads=threads)
        rows.append(Row(name, PHONE, t.load_ms, t.first_ms, t.median_ms or t.average_ms, None, t.peak_bytes))
    return f"Android {phone}", rows


def profile(bundle: Bundle, *, threads: int) -> dict[str, tuple[OperatorTime, ...]]:
    """Time by kind of operator, for the artefacts whose engine tells: ONNX Runtime does.

    Raises:
        BadInputError: the engine does not survive an artefact, or refuses it.
    """
    from perceiver_edge.bundle.evidence import read_held_out
    from perceiver_edge.measure.profile import onnx_profile
    from perceiver_edge.runtime.isolated import require_survivable

    held_out, profiles = read_held_out(bundle), {}
    for name, artefact in bundle.manifest.artefacts.items():
        if artefact.format == "onnx":
            content = bundle.read(name)
            require_survivable(content, where=name)  # the profiler runs here
            feeds = held_out.batch(0, artefact.inputs[0].shape[0])
            profiles[name] = onnx_profile(content, feeds, threads=threads)
    return profiles


def _engines(bundle: Bundle, name: str) -> tuple[str, ...]:
    from perceiver_edge.runtime.engines import engines_for, installed_engines

    able = engines_for(bundle.manifest.artefacts[name].format)
    engines = installed_engines(able)
    if not engines:
        raise MissingExtraError(f"{' or '.join(able)}, which would run {name},", "verify")
    return engines


def _worker(bundle: Bundle, name: str, engine: str, inputs: Path, threads: int, *, streams: int = 1) -> Worker:
    from perceiver_edge.measure.worker import engine_worker

    batch = bundle.manifest.artefacts[name].inputs[0].shape[0]
    return engine_worker(bundle.path / name, inputs, engine=engine, threads=threads, batch=batch, streams=streams)


def _first_samples(bundle: Bundle, folder: Path) -> Path:
    """One call's worth: the sample decides nothing about the time."""
    import numpy as np

    from perceiver_edge.bundle.evidence import read_held_out

    batch = max(artefact.inputs[0].shape[0] for artefact in bundle.manifest.artefacts.values())
    path = folder / "inputs.npz"
    np.savez(path, **read_held_out(bundle).batch(0, batch))  # type: ignore[arg-type]  # a name could be that of an option
    return path
