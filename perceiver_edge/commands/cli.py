"""What all commands share: errors become exit codes."""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable

from perceiver_edge.errors import EXIT_OK, PerceiverEdgeError

EXIT_INTERRUPTED = 130
"""128 + SIGINT, what a shell reports for a command stopped by Ctrl-C."""

EXIT_DEFECT = 70
"""EX_SOFTWARE of sysexits.h: an exception that nobody expected, not to be mistaken for a gate's verdict."""


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
