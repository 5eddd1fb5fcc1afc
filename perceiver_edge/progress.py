"""Show what a long command is doing: stages with their times on stderr, a bar where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of steps done so far."""


class Progress(Protocol):
    """Told when a stage begins; the stage ends with its context."""

    def __call__(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]: ...


def silent(title: str, total: int | None = None) -> AbstractContextManager[Advance]:
    """Progress for callers that want none."""
    return nullcontext(lambda done: None)


def on_console(*, quiet: bool) -> Progress:
    """Progress for a person: one line per finished stage, and a moving bar in a terminal meanwhile."""
    from perceiver_edge.cli import progress_console

    console = progress_console(quiet=quiet)

    @contextmanager
    def stage(title: str, total: int | None = None) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        start = time.perf_counter()
        columns = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        live = console.is_terminal and not quiet
        with Bar(*columns, console=console, transient=True, disable=not live) as bar:
            task = bar.add_task(title, total=total)
            yield lambda done: bar.update(task, completed=done)
        console.print(f"[green]✓[/green] {title} [dim]{time.perf_counter() - start:.1f} s[/dim]")

    return stage
