"""``perceiver-edge <command>``: every command under one name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from perceiver_edge._version import __version__
from perceiver_edge.commands import benchmark, cli, convert, demo, inspect, push, train, verify
from perceiver_edge.errors import EXIT_OK, importing

COMMANDS = (
    convert.COMMAND,
    verify.COMMAND,
    inspect.COMMAND,
    benchmark.COMMAND,
    demo.COMMAND,
    push.COMMAND,
    train.COMMAND,
)

SHELLS = ("bash", "zsh", "tcsh")


def parser() -> argparse.ArgumentParser:
    root = cli.Parser(prog="perceiver-edge", description="A Perceiver in, proven int8 TFLite and ONNX models out.")
    root.add_argument("--version", action="version", version=f"perceiver-edge {__version__}")
    root.add_argument("--print-completion", choices=SHELLS, help="print a completion script for this shell, and end")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name, help=command.summary, description=command.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    return cli.run(lambda: _parse_and_run(argv))


def _parse_and_run(argv: Sequence[str] | None) -> int:
    root = parser()
    arguments = root.parse_args(argv)
    if arguments.print_completion is not None:
        return _print_completion(root, arguments.print_completion)
    if arguments.command is None:
        root.error(f"a command is missing: {', '.join(command.name for command in COMMANDS)}")
    return arguments.run(arguments)


def _print_completion(root: argparse.ArgumentParser, shell: str) -> int:
    with importing("shtab", "verify"):
        import shtab
    print(shtab.complete(root, shell))
    return EXIT_OK
