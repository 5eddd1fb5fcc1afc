"""What all commands share: errors become exit codes, results go to stdout, progress goes to stderr."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from perceiver_edge.errors import EXIT_OK, MissingExtraError, PerceiverEdgeError

if TYPE_CHECKING:
    from rich.console import Console

EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command stopped by Ctrl-C."""

EXIT_DEFECT = 70
"""EX_SOFTWARE of sysexits.h: an exception that nobody expected, not to be mistaken for a gate's verdict."""

_WIDTH_WITHOUT_TERMINAL = 120


def positive(text: str) -> int:
    """For argparse: an integer of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def run(command: Callable[[], int]) -> int:
    """Call `command` and return its exit code; an expected failure becomes a message on stderr and its own code.

    An unexpected one keeps its traceback and becomes `EXIT_DEFECT`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a ✓ that the encoding lacks must not end a command that is done
            stream.reconfigure(errors="replace")
    try:
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except PerceiverEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        print("error: this is a defect of perceiver_edge; please report it with the lines above", file=sys.stderr)
        return EXIT_DEFECT


def result_console() -> "Console":
    """Results, on stdout.

    Raises:
        MissingExtraError: rich is not installed.
    """
    return _console(stderr=False, quiet=False)


def progress_console(*, quiet: bool = False) -> "Console":
    """Progress and warnings, on stderr; silent when `quiet`.

    Raises:
        MissingExtraError: rich is not installed.
    """
    return _console(stderr=True, quiet=quiet)


def _console(*, stderr: bool, quiet: bool) -> "Console":
    try:
        from rich.console import Console
    except ImportError:
        raise MissingExtraError("rich", "convert") from None
    stream = sys.stderr if stderr else sys.stdout
    # A pipe has no width of its own, and rich's 80 columns would break tables that a log shows whole.
    width = None if stream is not None and stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, quiet=quiet, highlight=False, width=width)
