"""A model in a process of its own: an engine that a nonsensical file ends takes that process with it, and not yours.

The child, `isolated_worker`, gets the model's bytes and then feeds, and answers, through its own pipes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.engines import Engine
from perceiver_edge.runtime.execution import Idle, Placement
from perceiver_edge.runtime.frames import Arrays, receive, send
from perceiver_edge.runtime.runner import Runner, TensorSpec


class IsolatedRunner(Runner):
    """Runs a model in a child process; the options are those of `load`."""

    def __init__(
        self, content: bytes, *, where: str, engine: Engine | None = None, threads: int | None = None,
        placement: Placement = "apart", idle: Idle = "sleep",
    ) -> None:  # fmt: skip
        """
        Args:
            content: the model.
            where: the file's name, for messages.

        Raises:
            BadInputError: the engine refuses the model, is not installed, or ends its process over the model.
        """
        self._where, self._one_call = where, threading.Lock()
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "perceiver_edge.runtime.isolated_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=_stderr(),
            )
        except OSError as error:
            raise BadInputError("No process can be started for the model.", got=error, where=where) from error
        how = {"where": where, "engine": engine, "threads": threads, "placement": placement, "idle": idle}
        answer, _ = self._ask(how, {"model": np.frombuffer(content, np.uint8)})
        self.engine = answer["engine"]
        super().__init__(_specs(answer["inputs"]), _specs(answer["outputs"]))

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._one_call:
            return self._ask({}, feeds)[1]

    def _ask(self, header: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            send(self._child.stdin, header, arrays)
            answer, results = receive(self._child.stdout)
        except (OSError, EOFError, ValueError) as error:
            self._child.kill()
            code = self._child.wait()
            raise BadInputError(
                "The engine ended its process over this model.", expected="a model that this engine's version runs",
                got=f"signal {-code}" if code < 0 else f"exit code {code}", where=self._where,
                fix="the file is damaged, or was made for another engine; compile the model again",
            ) from error  # fmt: skip
        if "error" in answer:
            raise BadInputError(answer["error"])
        return answer, results

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.communicate()

    def __del__(self) -> None:
        if "_child" in self.__dict__ and not sys.is_finalizing():
            self.close()


def _stderr() -> int | None:
    """The parent's own; nothing where it has none, for the child's pipes must not get that number."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return None


def require_survivable(content: bytes, *, where: str) -> None:
    """Load a model and run it once on zeros, in a process of its own.

    Raises:
        BadInputError: the engine is not installed, refuses the model, fails, or ends the process. Better there than
            here.
    """
    runner = IsolatedRunner(content, where=where, threads=1)
    try:
        sizes = {name: [max(size, 1) for size in spec.shape] for name, spec in runner.inputs.items()}
        runner({name: np.zeros(sizes[name], spec.dtype) for name, spec in runner.inputs.items()})
    finally:
        runner.close()


def _specs(values: Mapping[str, tuple[list[int], str]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in values.items()}
