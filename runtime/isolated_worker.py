"""The child's end of `isolated`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perceiver_edge.runtime.engines import Engine
from perceiver_edge.runtime.execution import Idle, Placement, resolve_execution
from perceiver_edge.runtime.guard import engine_errors
from perceiver_edge.runtime.loading import load_content
from perceiver_edge.runtime.serving import Answer, described, serve


def _load(
    content: bytes, *, where: str, engine: Engine | None, threads: int | None, placement: Placement, idle: Idle
) -> tuple[Mapping[str, Any], Answer]:
    """Without an `InputGuard`: the parent has one."""
    execution = resolve_execution(threads=threads, placement=placement, idle=idle)
    with engine_errors("The model cannot be loaded.", where):
        runner = load_content(content, where=where, engine=engine, execution=execution)
    said = {"engine": runner.engine, "inputs": described(runner.inputs), "outputs": described(runner.outputs)}
    return said, lambda feeds: ({}, runner._answer(feeds))


def main() -> None:
    serve(_load)
