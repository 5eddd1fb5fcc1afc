"""What is measured: model files of ours and of peers, each in its engine and its environment."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from environments import python_of
from peer_list import Peer

from perceiver_edge.bundle.folder import Bundle
from perceiver_edge.measure.worker import Worker, engine_worker

ENGINES = {
    "litert": "LiteRT", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "torch": "PyTorch",
    "executorch": "ExecuTorch",
}  # fmt: skip
_OURS = ("litert", "onnxruntime")
"""The engines that `perceiver_edge.measure.worker` serves; `serve_peer.py` serves the others."""

_WITH_WEIGHT_CACHE = {"TF converter float32", "litert-torch float32", "perceiver_edge int8"}

_REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model file that is there, and how it is run.

    ``size_bytes``: with all that lies beside it. ``weight_cache``: its packed weights are mapped from a file.
    ``plain``: its engine's threads are placed and spin as the engine has it. A peer's always do: that is what its user
    gets.
    """

    made_by: str
    engine: str
    precision: str
    is_ours: bool
    file: Path
    python: Path
    mode: str = ""
    weight_cache: bool = False
    plain: bool = False

    @property
    def size_bytes(self) -> int:
        weights = self.file.with_suffix(".bin")  # OpenVINO's
        return self.file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)

    @property
    def is_anchor(self) -> bool:
        """Whether others are held against it: ours in int8, as a user first runs it."""
        return self.is_ours and self.precision == "int8" and not self.weight_cache and not self.plain

    def worker(self, inputs: Path, threads: int) -> Worker:
        """A process that has not loaded the model yet; ``inputs``: see `perceiver_edge.measure.worker.serve`.

        A weight cache lies beside the inputs, and another process has filled it before.
        """
        if self.engine in _OURS:
            cache = inputs.with_name("weight_cache") if self.weight_cache else None
            start = functools.partial(
                engine_worker, self.file, inputs, engine=self.engine, threads=threads, batch=1,
                is_plain=self.plain or not self.is_ours, weight_cache=cache,
            )  # fmt: skip
            if self.weight_cache:
                with start() as first:
                    first.start()
            return start()
        return peer_worker(self.python, self.engine, self.mode, self.file, inputs=inputs, threads=threads)


def peer_worker(
    python: Path, engine: str, mode: str, file: Path, *, inputs: Path, threads: int, streams: int = 1
) -> Worker:
    """A process that serves a model of an engine that perceiver_edge does not use; see `serve_peer`."""
    command = [python, Path(__file__).with_name("serve_peer.py"), engine, mode, file, inputs, threads, streams]
    path = os.pathsep.join(filter(None, (str(_REPOSITORY), os.environ.get("PYTHONPATH"))))
    return Worker([str(part) for part in command], environment={"PYTHONPATH": path})


def ours(bundle: Bundle) -> list[Contender]:
    """Every artefact of the bundle."""
    return [
        Contender(
            made_by=f"perceiver_edge {artefact.precision}",
            engine="litert" if artefact.format == "tflite" else "onnxruntime",
            precision=artefact.precision, is_ours=True, file=bundle.path / name, python=Path(sys.executable),
        )
        for name, artefact in bundle.manifest.artefacts.items()
    ]  # fmt: skip


def contender(peer: Peer, file: Path, cache: Path) -> Contender:
    """Raises NotRunError: the peer's environment is not made."""
    return Contender(
        made_by=peer.made_by, engine=peer.engine, precision=peer.precision, is_ours=False, file=file,
        python=python_of(peer.environment, cache), mode=peer.mode,
    )  # fmt: skip


def with_weight_cache(present: Sequence[Contender]) -> list[Contender]:
    """LiteRT's float32 peer and ours in int8, as far as they are present, with a weight cache."""
    return [
        replace(one, made_by=f"{one.made_by}, weight cache", weight_cache=True)
        for one in present
        if one.engine == "litert" and one.made_by in _WITH_WEIGHT_CACHE
    ]


def plain(present: Sequence[Contender]) -> list[Contender]:
    """Ours in int8, as far as present, in the plain engines: what `runtime.load` adds is the difference."""
    return [
        replace(one, made_by=f"{one.made_by}, plain engine", plain=True)
        for one in present
        if one.is_anchor and one.engine in _OURS
    ]


def by_engine(contenders: Sequence[Contender]) -> list[Contender]:
    """Engine by engine, peers before ours."""
    order = list(ENGINES)
    return sorted(contenders, key=lambda one: (order.index(one.engine), one.is_ours))
