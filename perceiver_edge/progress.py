"""What a person sees: results on stdout; stages with their times and peak memory on stderr, a bar in a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from perceiver_edge.errors import importing, printable
from perceiver_edge.memory import peak_memory_bytes

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_WITHOUT_TERMINAL = 120


@dataclass
class Stage:
    """A stage under way; called with the number of steps done so far. ``is_cached``: an earlier run did the work."""

    advance: Callable[[int], None] = lambda done: None
    is_cached: bool = False

    def __call__(self, done: int) -> None:
        self.advance(done)


class Progress(Protocol):
    """Told when a stage begins; the stage ends with its context."""

    def __call__(self, title: str, total: int | None = None) -> AbstractContextManager[Stage]: ...


def silent(title: str, total: int | None = None) -> AbstractContextManager[Stage]:
    """Progress for callers that want none."""
    return nullcontext(Stage())


def in_notebooks(title: str, total: int | None = None) -> AbstractContextManager[Stage]:
    """Progress for callers that say nothing: a line for each finished stage in a notebook, nothing elsewhere."""
    return _printed(title) if "ipykernel" in sys.modules else silent(title, total)


@contextmanager
def _printed(title: str) -> Iterator[Stage]:
    start, stage = time.perf_counter(), Stage()
    yield stage
    print(f"✓ {title}{' (cached)' if stage.is_cached else ''}  {time.perf_counter() - start:.1f} s", flush=True)


@dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """``peak_bytes``: the most memory the process held before the stage ended; None where the system does not say."""

    title: str
    seconds: float
    peak_bytes: int | None
    is_cached: bool


def on_console(*, quiet: bool, finished: list[FinishedStage] | None = None) -> Progress:
    """Progress for a person: one line per finished stage, and a moving bar in a terminal meanwhile.

    Args:
        finished: a list that every finished stage is appended to.
    """
    console = progress_console(quiet=quiet)

    @contextmanager
    def stage(title: str, total: int | None = None) -> Iterator[Stage]:
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        start = time.perf_counter()
        columns = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(), MofNCompleteColumn()]
        live = console.is_terminal and not quiet
        with Bar(*columns, console=console, transient=True, disable=not live) as bar:
            task = bar.add_task(escape(title), total=total)
            under_way = Stage(lambda done: bar.update(task, completed=done))
            yield under_way
        done = FinishedStage(
            title=title, seconds=time.perf_counter() - start, peak_bytes=peak_memory_bytes(),
            is_cached=under_way.is_cached,
        )  # fmt: skip
        if finished is not None:
            finished.append(done)
        console.print(_line(done))

    return stage


def progress_console(*, quiet: bool = False) -> Console:
    """Progress and warnings, on stderr; silent when `quiet`.

    Raises:
        MissingExtraError: rich is not installed.
    """
    return _console(stderr=True, quiet=quiet)


def result_console() -> Console:
    """Results, on stdout.

    Raises:
        MissingExtraError: rich is not installed.
    """
    return _console(stderr=False, quiet=False)


def _console(*, stderr: bool, quiet: bool) -> Console:
    with importing("rich", "convert"):
        from rich.console import Console
    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width of its own, and rich's 80 columns would break tables that a log shows whole.
    width = None if stream is not None and stream.isatty() else _WIDTH_WITHOUT_TERMINAL

    class Printing(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(printable(text), **options)

    return Printing(stderr=stderr, quiet=quiet, highlight=False, width=width)


def _line(stage: FinishedStage) -> str:
    from rich.markup import escape

    cached = " (cached)" if stage.is_cached else ""
    memory = "" if stage.peak_bytes is None else f"  {stage.peak_bytes / 1e6:,.0f} MB"
    return f"[green]✓[/green] {escape(stage.title)}{cached} [dim]{stage.seconds:.1f} s{memory}[/dim]"
