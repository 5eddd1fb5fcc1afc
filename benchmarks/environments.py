"""Make the virtual environments of the peers that need other libraries than perceiver_edge.

    python benchmarks/environments.py [NAME ...] [--cache FOLDER]

Each is made from `benchmarks/peers/NAME.txt` with pip, by name and version, in ``FOLDER/env/NAME``. One that is made
already from the same file is left alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK, NotRunError, PerceiverEdgeError

CACHE = Path("build") / "peers"
"""Default folder of all that later runs find again: environments, peers' models, our bundles."""

THIS = "this"
"""The environment that runs the benchmark, which is made by whoever runs it."""

_REQUIREMENTS = Path(__file__).with_name("peers")
NAMES = tuple(sorted(path.stem for path in _REQUIREMENTS.glob("*.txt") if path.stem != THIS))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/environments.py", description="Make the virtual environments of the peers."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no such environment: {', '.join(sorted(unknown))}")
    return cli.run(lambda: _make_all(arguments.names or NAMES, arguments.cache))


def python_of(name: str, cache: Path) -> Path:
    """The interpreter of an environment.

    Raises:
        NotRunError: it is not made, or from other versions than the requirements say now.
    """
    if name == THIS:
        return Path(sys.executable)
    folder = _folder(name, cache)
    if not _is_made(name, folder):
        raise NotRunError(
            name, missing=f"the environment {folder}", fix=f"python benchmarks/environments.py {name} --cache {cache}"
        )
    return folder / "bin" / "python"


def requirements() -> dict[str, list[str]]:
    """What each environment is made from: its name → ``library==version``."""
    return {name: _requirements(name).read_text().split() for name in NAMES}


def _folder(name: str, cache: Path) -> Path:
    return cache.absolute() / "env" / name


def _is_made(name: str, folder: Path) -> bool:
    made_from = folder / "made_from.txt"
    return made_from.exists() and made_from.read_text() == _requirements(name).read_text()


def _requirements(name: str) -> Path:
    return _REQUIREMENTS / f"{name}.txt"


def _make_all(names: Sequence[str], cache: Path) -> int:
    for name in names:
        folder = _folder(name, cache)
        if not _is_made(name, folder):
            if not (folder / "bin" / "python").exists():
                venv.create(folder, with_pip=True, symlinks=True)
            command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", _requirements(name)]
            if subprocess.run(list(map(str, command)), check=False).returncode != 0:
                raise PerceiverEdgeError(f"pip could not install {_requirements(name)}.", where=folder)
            (folder / "made_from.txt").write_text(_requirements(name).read_text())
        print(f"{name}: {folder}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
