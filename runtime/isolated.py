"""A model in a process of its own: an engine that a nonsensical file ends takes that process with it, and not yours.

The child, `isolated_worker`, gets the model's bytes and then feeds, and answers, through its own pipes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.child import ChildError, ChildProcess, program
from perceiver_edge.runtime.engines import Engine
from perceiver_edge.runtime.execution import Idle, Placement
from perceiver_edge.runtime.frames import MOST_ARRAY_BYTES, Arrays
from perceiver_edge.runtime.runner import Runner
from perceiver_edge.runtime.serving import specs


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
            BadInputError: the engine refuses the model, is not installed, ends its process over the model, or does not
                come to an end.
        """
        self._where = where
        self._child = ChildProcess(program("perceiver_edge.runtime.isolated_worker"))
        how = {"where": where, "engine": engine, "threads": threads, "placement": placement, "idle": idle}
        try:
            answer, _ = self._ask(how, {"model": np.frombuffer(content, np.uint8)})
        except BaseException:
            self.close()
            raise
        self.engine = answer["engine"]
        super().__init__(specs(answer["inputs"]), specs(answer["outputs"]))

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._ask({}, feeds)[1]

    def _ask(self, header: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            answer, results = self._child.ask(header, arrays)
        except ChildError as error:
            raise BadInputError(
                "The process of this model's engine gives no answer.",
                expected="a model that this engine's version runs", got=error, where=self._where,
                fix="load it again; if that fails too, the file is damaged or was made for another engine: compile it "
                "again",
            ) from error  # fmt: skip
        if "error" in answer:
            raise BadInputError(answer["error"])
        return answer, results

    def close(self) -> None:
        """End the process."""
        self._child.close()


def require_survivable(content: bytes, *, where: str) -> None:
    """Load a model and run it once on zeros, in a process of its own.

    Raises:
        BadInputError: the engine is not installed, refuses the model, fails, ends the process, or does not come to an
            end; or the inputs are huge. Better there than here.
    """
    runner = IsolatedRunner(content, where=where, threads=1)
    try:
        sizes = {name: [max(size, 1) for size in spec.shape] for name, spec in runner.inputs.items()}
        needed = {name: math.prod(size) * runner.inputs[name].dtype.itemsize for name, size in sizes.items()}
        if sum(needed.values()) > MOST_ARRAY_BYTES:
            raise BadInputError(
                "The model's inputs are too large.", expected=f"at most {MOST_ARRAY_BYTES:,} bytes",
                got=", ".join(f"{name} {spec}" for name, spec in runner.inputs.items()), where=where,
            )  # fmt: skip
        runner({name: np.zeros(sizes[name], spec.dtype) for name, spec in runner.inputs.items()})
    finally:
        runner.close()
