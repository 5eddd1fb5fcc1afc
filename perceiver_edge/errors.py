"""Every error a user can meet: one base class, and a message that says what to do.

The exit codes of all commands live here too, so that a failure means the same thing everywhere:
0 done, 1 a gate (parity or other) failed, 2 bad usage or input. (70 is a defect of ours; see `cli`.)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

EXIT_OK = 0
EXIT_GATE_FAILED = 1
EXIT_BAD_INPUT = 2


_in_terminal = ContextVar("in_terminal", default=False)

_FLAGS = {"samples": "--calibration-data", "with_mask": "--mask", "gates": "--gate"}
"""Options whose flag has a name of its own; `test_options_are_named_as_their_flags` holds this to the flags."""


@contextmanager
def in_terminal() -> Iterator[None]:
    """Messages made inside speak of a command's flags; elsewhere they speak of a function's arguments."""
    token = _in_terminal.set(True)
    try:
        yield
    finally:
        _in_terminal.reset(token)


def option(name: str, value: object = None) -> str:
    """How the reader of a message writes an option: ``--input-shape 8,8``, or ``input_shape=(8, 8)`` from Python."""
    if not _in_terminal.get():
        return name if value is None else f"{name}={value!r}"
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
    if value is None or value is True:
        return flag
    if isinstance(value, Mapping):
        value = tuple(f"{key}={item}" for key, item in value.items())
    return f"{flag} {','.join(map(str, value)) if isinstance(value, tuple) else value}"


def printable(text: str) -> str:
    """The text with every character written out that a terminal would act on: a file's name may hold escape sequences.

    Line breaks and tabs stay.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class PerceiverEdgeError(Exception):
    """Base class. ``str(error)`` is the whole message, ready for a terminal.

    Args:
        what: one sentence that says what went wrong.
        expected: what would have been right.
        got: what came instead.
        where: the file, tensor, sample or option concerned.
        fix: what the reader can do about it.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        where: object = None,
        fix: str | None = None,
    ) -> None:
        details = {"expected": expected, "got": got, "where": where, "fix": fix}
        lines = [_detail(label, value) for label, value in details.items() if value is not None]
        super().__init__(printable("\n".join([what, *lines])))


def _detail(label: str, value: object) -> str:
    start = f"  {label + ':':<10}"
    return start + str(value).replace("\n", "\n" + " " * len(start))


class BadInputError(PerceiverEdgeError):
    """A model, sample, file or option that cannot be used as it is."""


def installing(extras: str) -> str:
    """The command that brings optional dependencies, from an index or from a clone."""
    return f"pip install 'perceiver-edge[{extras}]', or in a clone of the repository: pip install -e '.[{extras}]'"


@contextmanager
def found_in(where: object) -> Iterator[None]:
    """Name the place in a `BadInputError` of who does not know it; None names none."""
    try:
        yield
    except BadInputError as error:
        if where is None:
            raise
        raise BadInputError(str(error), where=where) from error


class MissingExtraError(PerceiverEdgeError):
    """A library is not installed; the message names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed.",
            expected=f"the Python package {library!r}",
            fix=installing(extra),
        )


@contextmanager
def importing(library: str, extra: str) -> Iterator[None]:
    """What the imports of a library in the block raise becomes an error of ours.

    Raises:
        MissingExtraError: it is not installed; ``extra`` brings it.
        PerceiverEdgeError: it is installed and broken, or lacks a library of the system.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == library:
            raise MissingExtraError(library, extra) from None
        raise PerceiverEdgeError(
            f"{library} is installed and cannot be imported.", got=error,
            fix="install it again, or what it lacks; its own documentation names the systems that it runs on",
        ) from error  # fmt: skip


class ConversionError(PerceiverEdgeError):
    """A converter ran but its result is not what was asked for (Flex operators, a GEMM left in float)."""


class GateError(PerceiverEdgeError):
    """An artefact was made but a gate rejected it. Nothing was published."""

    exit_code = EXIT_GATE_FAILED


class NotRunError(PerceiverEdgeError):
    """A runtime that is not on this machine was asked for: nothing ran, so there is nothing to judge or to time.

    Args:
        runtime: its name, such as ``litert arm64``.
        missing: what is not there.
        fix: what to install or to connect.
    """

    def __init__(self, runtime: str, *, missing: object, fix: str) -> None:
        super().__init__(f"{runtime} did not run.", expected=missing, got="it is not here", fix=fix)
        self.runtime, self.missing, self.fix = runtime, str(missing), fix


def first_line(error: BaseException) -> str:
    """What somebody else's exception says, as far as its first line; its type where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def counted(number: int, what: str) -> str:
    """``1 sample``, ``2 samples``, ``1,024 threads``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def did_you_mean(value: object, known: Iterable[str]) -> str:
    """``"; did you mean …?"`` with the nearest known word, or nothing where none is near."""
    near = difflib.get_close_matches(str(value), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
