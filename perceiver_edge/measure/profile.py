"""Where an ONNX model's time goes, by kind of operator: ONNX Runtime's own profile, added up.

LiteRT's Python interface gives no profile; its command line tool does: ``benchmark_model --enable_op_profiling``.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.errors import importing
from perceiver_edge.runtime.external_data import require_weights_inside
from perceiver_edge.runtime.guard import engine_errors

_RUNS = 10
_INFERENCE, _KERNEL = "model_run", "_kernel_time"
"""How ONNX Runtime names the events of a whole inference and of one operator's."""


@dataclass(frozen=True)
class OperatorTime:
    """``calls`` in one inference, and the milliseconds that they take together."""

    operator: str
    calls: float
    ms: float


def onnx_profile(model: bytes, feeds: Mapping[str, np.ndarray], *, threads: int) -> tuple[OperatorTime, ...]:
    """Run the model some times under ONNX Runtime's profiler; the slowest kind of operator comes first.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        BadInputError: ONNX Runtime refuses the model or the feeds, or weights are in other files.
    """
    require_weights_inside(model, "bytes")
    with importing("onnxruntime", "verify"):
        import onnxruntime
    with engine_errors("The model cannot be profiled."), tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
        for _ in range(1 + _RUNS):
            session.run(None, dict(feeds))
        return summed(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


def summed(events: list[dict[str, Any]]) -> tuple[OperatorTime, ...]:
    """ONNX Runtime's trace events to time by kind of operator, the average of all inferences but the first."""
    inferences = sorted((e for e in events if e["name"] == _INFERENCE), key=lambda event: event["ts"])
    counted = len(inferences) - 1
    warm_from = inferences[1]["ts"]
    total_us: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in events:
        if event["name"].endswith(_KERNEL) and event["ts"] >= warm_from:
            total_us[event["args"]["op_name"]] += event["dur"]
            calls[event["args"]["op_name"]] += 1
    times = (OperatorTime(kind, calls[kind] / counted, total / 1000 / counted) for kind, total in total_us.items())
    return tuple(sorted(times, key=lambda time: -time.ms))
