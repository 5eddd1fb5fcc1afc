"""perceiver-edge push: a bundle to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from perceiver_edge.commands.cli import Command
from perceiver_edge.errors import EXIT_OK

DESCRIPTION = """\
Upload a bundle to the Hugging Face Hub. Its card gets the Hub's metadata: library, task, base model, and the figures
of the proof. Log in first, with `hf auth login`. `load_bundle("hf://user/name")` reads it from there."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="a folder that convert made, such as build/digits")
    parser.add_argument("repository", help="user/name; made if it is not there")
    parser.add_argument("--base-model", metavar="USER/NAME", help="the model on the Hub that was compiled")
    parser.add_argument("--private", action="store_true", help="make a new repository private")


def _push(args: argparse.Namespace) -> int:
    from perceiver_edge.bundle.folder import read_bundle
    from perceiver_edge.bundle.hub import push

    address = push(read_bundle(args.bundle), args.repository, base_model=args.base_model, private=args.private)
    print(f"{args.bundle} is at {address}")
    return EXIT_OK


COMMAND = Command("push", "upload a bundle to the Hugging Face Hub", DESCRIPTION, _add_arguments, _push)
main = COMMAND.main
