"""The child's end of `isolated`: load the model that comes first, then answer until the parent hangs up."""

from __future__ import annotations

import os
import sys

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime.engines import Engine
from perceiver_edge.runtime.execution import Idle, Placement, resolve_execution
from perceiver_edge.runtime.frames import receive, send
from perceiver_edge.runtime.guard import engine_errors
from perceiver_edge.runtime.loading import load_content
from perceiver_edge.runtime.runner import Runner


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine prints is no answer
    feeds_from = sys.stdin.buffer
    try:
        how, arrays = receive(feeds_from)
        runner = _load(arrays["model"].tobytes(), **how)
        sides = {
            side: {name: (spec.shape, spec.dtype.str) for name, spec in specs.items()}
            for side, specs in (("inputs", runner.inputs), ("outputs", runner.outputs))
        }
    except PerceiverEdgeError as error:
        send(answers, {"error": str(error)}, {})
        return
    send(answers, {"engine": runner.engine, **sides}, {})
    while True:
        try:
            _, feeds = receive(feeds_from)
        except EOFError:
            return
        try:
            header, results = {}, runner._answer(feeds)
        except PerceiverEdgeError as error:
            header, results = {"error": str(error)}, {}
        send(answers, header, results)


def _load(
    content: bytes, *, where: str, engine: Engine | None, threads: int | None, placement: Placement, idle: Idle
) -> Runner:
    """Without an `InputGuard`: the parent has one."""
    execution = resolve_execution(threads=threads, placement=placement, idle=idle)
    with engine_errors("The model cannot be loaded.", where):
        return load_content(content, where=where, engine=engine, execution=execution)


if __name__ == "__main__":
    main()
