"""How a runner runs: decided here once, from what the process may use. An engine's adapter translates it, and decides
nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perceiver_edge.errors import BadInputError, counted
from perceiver_edge.runtime.own_thread import CallersThread, Home, OwnThread
from perceiver_edge.runtime.processors import default_threads, fastest, usable_processors
from perceiver_edge.runtime.seat import can_place

Placement = Literal["apart", "system"]
Idle = Literal["sleep", "spin"]


@dataclass(frozen=True)
class Execution:
    """How a runner runs.

    Attributes:
        threads: of one inference, the one that asks the engine included.
        placement: ``"apart"``: inference has a thread of its own, and the engine's workers stay off its processor while
            it runs (see `own_thread`). ``"system"``: it runs in the caller's thread, and the system places all.
        processors: what an own thread and its workers may use, ascending; empty where the system places all.
        idle: what the engine's workers do between calls, ``"sleep"`` or ``"spin"``.
    """

    threads: int
    placement: Placement
    processors: tuple[int, ...]
    idle: Idle

    def home(self) -> Home:
        """Where a model that runs so is loaded and run; each has its own."""
        return OwnThread(self.processors) if self.placement == "apart" else CallersThread()

    def __str__(self) -> str:
        where = f" apart on processors {', '.join(map(str, self.processors))}" if self.processors else ""
        spins = ", spinning between calls" if self.idle == "spin" else ""
        return f"{counted(self.threads, 'thread')}{where}{spins}"


def resolve_execution(
    *, threads: int | None = None, placement: Placement = "apart", idle: Idle = "sleep"
) -> Execution:  # fmt: skip
    """What a runner does of what is asked for, here and now.

    Args:
        threads: at least 1; None for `default_threads`.
        placement: ``"apart"`` pays, and is done, where there are at least two threads and a processor for each.
        idle: see `Execution`.

    Raises:
        BadInputError: one of them is no such value.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise BadInputError("threads is out of range.", expected="an integer of at least 1, or None", got=repr(threads))
    _require_one_of("placement", placement, ("apart", "system"))
    _require_one_of("idle", idle, ("sleep", "spin"))
    count = threads or default_threads()
    processors = fastest(usable_processors(), count)
    if placement == "system" or not 1 < count <= len(processors) or not can_place():
        return Execution(threads=count, placement="system", processors=(), idle=idle)
    return Execution(threads=count, placement="apart", processors=processors, idle=idle)


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BadInputError(f"No such {name}.", expected=" or ".join(map(repr, known)), got=repr(value))
