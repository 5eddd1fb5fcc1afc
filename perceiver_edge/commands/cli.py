"""What all commands share: how they are declared, how bad usage is told, and how errors become exit codes."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from perceiver_edge.errors import EXIT_BAD_INPUT, EXIT_OK, PerceiverEdgeError, did_you_mean, in_terminal

EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command stopped by Ctrl-C."""

EXIT_DEFECT = 70
"""EX_SOFTWARE of sysexits.h: an exception that nobody expected, not to be mistaken for a gate's verdict."""


class Parser(argparse.ArgumentParser):
    """Argparse, but for bad usage: the error, the nearest known word, and one line of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"error: {message}\nusage: {self.prog} …   (--help lists everything)\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"{unknown[0]} is not known{did_you_mean(unknown[0].split('=')[0], _flags(self))}")
        return parsed

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"{value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}"
            )  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A subcommand: ``perceiver-edge <name>``, and ``python -m perceiver_edge.<name>``.

    Attributes:
        summary: a line for the list of commands.
        add_arguments: to a parser.
        run: from the parsed arguments to the exit code; expected failures are `PerceiverEdgeError`.
    """

    name: str
    summary: str
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Parse, run, and return the exit code. Bad usage leaves by SystemExit, as argparse does."""
        parser = Parser(
            prog=f"python -m perceiver_edge.{self.name}", description=self.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self.add_arguments(parser)
        arguments = parser.parse_args(argv)
        return run(lambda: self.run(arguments))


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    """All flags of a parser and of its subcommands."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _flags(sub)


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
        with in_terminal():
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
