"""What all commands share: how they are declared, how bad usage is told, and how errors become exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from perceiver_edge.commands.streams import patient_streams
from perceiver_edge.errors import EXIT_BAD_INPUT, BadInputError, PerceiverEdgeError, did_you_mean, in_terminal

EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command stopped by Ctrl-C."""

EXIT_DEFECT = 70
"""EX_SOFTWARE of sysexits.h: an exception that nobody expected, not to be mistaken for a gate's verdict."""


_FILENAME_EXCED_RANGE = 206
"""Windows' word for it."""


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
        return run(lambda: self._parse_and_run(argv))

    def _parse_and_run(self, argv: Sequence[str] | None) -> int:
        parser = Parser(
            prog=f"python -m perceiver_edge.{self.name}", description=self.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        self.add_arguments(parser)
        return self.run(parser.parse_args(argv))


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
    with patient_streams():
        try:
            with in_terminal():
                try:
                    return command()
                finally:
                    print(end="", flush=True)  # here, where a disk that is full is told as any other error
        except PerceiverEdgeError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except Exception as error:
            if told := disk_full(error) or path_too_long(error):
                print(f"error: {told}", file=sys.stderr)
                return told.exit_code
            traceback.print_exc()
            print("error: this is a defect of perceiver_edge; please report it with the lines above", file=sys.stderr)
            return EXIT_DEFECT


def disk_full(error: BaseException) -> BadInputError | None:
    """What to say where a full disk is behind an exception, whoever raised it; None where it is not.

    Libraries raise errors of their own over it, such as TensorFlow's; the system's words are in all of them.
    """
    words = (os.strerror(errno.ENOSPC), "No usable temporary directory")  # Windows has no words for EDQUOT
    seen: BaseException | None = error
    while seen is not None:
        is_full = isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT)
        if is_full or any(word in str(seen) for word in words):
            temporary = os.environ.get("TMPDIR") or tempfile.gettempdir()
            where = getattr(seen, "filename", None) or temporary
            return BadInputError(
                "There is no room left to write to.", expected="free space for temporary files", got=seen, where=where,
                fix=f"free some space there, or set TMPDIR to another folder (now {temporary})",
            )  # fmt: skip
        seen = seen.__cause__ or seen.__context__
    return None


def path_too_long(error: BaseException) -> BadInputError | None:
    """What to say of a path that the system refuses for its length, whatever was to be done with it; else None."""
    if not isinstance(error, OSError) or not (
        error.errno == errno.ENAMETOOLONG or getattr(error, "winerror", None) == _FILENAME_EXCED_RANGE
    ):
        return None
    return BadInputError(
        "A path is too long.", expected="one that this system takes: 260 characters on Windows without long paths",
        got=f"{len(os.fsdecode(error.filename or ''))} characters", where=error.filename,
        fix="choose a shorter one, or a folder nearer to the root",
    )  # fmt: skip
