"""The flags of ``convert``, made from the declarations of its options (`perceiver_edge.compiler.options`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from perceiver_edge.compiler.options import Flag, Options
from perceiver_edge.progress import Progress


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for each option, in the groups that the options name."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in fields(Options):
        flag: Flag = option.metadata["flag"]
        if flag.group is None:
            continue
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        group = groups[flag.group]
        name = flag.name or f"--{option.name.replace('_', '-')}"
        if isinstance(option.default, bool):
            action = "store_false" if option.default else "store_true"
            group.add_argument(name, dest=option.name, action=action, help=flag.help)
            continue
        is_optional = option.default in (None, MISSING)
        group.add_argument(
            name,
            dest=option.name,
            default=None if option.default is MISSING else option.default,
            action="append" if flag.is_repeated and not flag.choices else "store",
            nargs="+" if flag.is_repeated and flag.choices else None,
            type=_typed(flag.parse),
            choices=flag.choices or None,
            metavar=flag.metavar,
            help=flag.help if is_optional else f"{flag.help} (default: {_text(option.default)})",
        )


def options_of(arguments: argparse.Namespace, *, progress: Progress) -> Options:
    """What the flags say.

    Raises:
        BadInputError: as `Options`.
    """
    values = {
        option.name: getattr(arguments, option.name) for option in fields(Options) if hasattr(arguments, option.name)
    }
    values["gates"] = dict(values["gates"] or ())
    values["config"] = values["config"] or {}
    values["formats"] = tuple(dict.fromkeys(values["formats"]))
    return Options(**values, progress=progress)


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """For argparse: a value that cannot be read is told with what was expected."""
    if parse in (str, int):
        return parse

    def typed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not usable; expected: {error}") from None

    return typed


def _text(default: Any) -> str:
    return " ".join(default) if isinstance(default, tuple) else str(default)
