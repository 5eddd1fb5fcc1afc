"""How do the artefacts of a bundle compare, on this CPU, with what the usual converters make of the plain Perceiver?

    python benchmarks/plain_form.py BUNDLE [--photos FOLDER]      measure
    python benchmarks/plain_form.py --table RESULT.json           print a result as a Markdown table

BUNDLE is a folder that ``python -m perceiver_edge.convert`` made. The peers come from the same weights and the same
calibration samples. They are made once, in ``build/plain_form/``; a second run only measures.

Needs besides perceiver-edge[convert]: sympy. Making the peers of the README model takes some minutes and about 14 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from perceiver_edge import cli
from perceiver_edge.errors import EXIT_OK, BadInputError

_ROUNDS, _QUICK_ROUNDS = 20, 3
_QUICK_SAMPLES = 8


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/plain_form.py",
        description="Compare a bundle's artefacts with what the usual converters make of the same Perceiver.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a folder made by perceiver_edge.convert")
    what.add_argument("--table", type=Path, metavar="RESULT.json", help="print a result as a Markdown table, and end")
    parser.add_argument("--model", metavar="FOLDER", help="the weights, if they are not found by the bundle's name")
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="the bundle's samples (default: where its manifest says)"
    )
    parser.add_argument("--seed", type=int, default=0, help="what the bundle was made with (default: %(default)s)")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"timed calls of each model (default: {_ROUNDS})")
    parser.add_argument(
        "--threads", type=_positive, default=2, metavar="N", help="of both engines (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"try it out: {_QUICK_ROUNDS} rounds, {_QUICK_SAMPLES} held-out samples"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="an .svg is written beside it (default: benchmarks/results/)"
    )
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _table(arguments.table) if arguments.table else _measure(arguments))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _table(path: Path) -> int:
    from presentation import markdown_table, read_result

    print(markdown_table(read_result(path)))
    return EXIT_OK


def _measure(arguments: argparse.Namespace) -> int:
    from chart import bar_chart
    from comparison import Contender, compare
    from machine import describe_machine, tool_versions
    from peer_files import WORK, peer_files
    from peers import PEERS
    from presentation import BENCHMARK, terminal_table
    from subject import first_samples, read_subject

    from perceiver_edge.progress import on_console

    rounds = arguments.rounds or (_QUICK_ROUNDS if arguments.quick else _ROUNDS)
    progress = on_console(quiet=False)
    with progress("read the bundle and its samples"):
        subject = read_subject(arguments.bundle, model=arguments.model, photos=arguments.photos, seed=arguments.seed)
    manifest = subject.bundle.manifest
    folder = WORK if arguments.quick else Path(__file__).parent / "results"
    output = _writable(arguments.output or folder / f"{BENCHMARK}_{manifest.name}.json")
    files = peer_files(subject.model, subject.calibration, progress=progress)
    contenders = [
        Contender(
            file_name=name, made_by=PEERS[name].made_by, precision=PEERS[name].precision, is_ours=False,
            content=path.read_bytes(),
        )
        for name, path in files.items()
    ] + [
        Contender(
            file_name=name, made_by=f"perceiver_edge {artefact.precision}", precision=artefact.precision,
            is_ours=True, content=subject.bundle.read(name),
        )
        for name, artefact in manifest.artefacts.items()
    ]  # fmt: skip
    contenders.sort(key=lambda one: (not one.file_name.endswith(".tflite"), one.is_ours))
    held_out = first_samples(subject.held_out, _QUICK_SAMPLES) if arguments.quick else subject.held_out
    machine = describe_machine()
    rows = compare(
        contenders, held_out, is_classifier=manifest.config.final_classifier_head, rounds=rounds,
        threads=arguments.threads, progress=progress,
    )  # fmt: skip
    result = {
        "benchmark": BENCHMARK,
        "model": manifest.name,
        "weights_fingerprint": manifest.weights_fingerprint,
        "is_random_weights": manifest.is_random_weights,
        "input_shape": "×".join(map(str, subject.model.sample_shape)),
        "samples": Path(held_out.source).name,  # a result is shown to others, this machine's folders are not
        "num_samples": len(held_out),
        "num_calibration": len(subject.calibration),
        "rounds": rounds,
        "threads": arguments.threads,
        "quick": arguments.quick,
        "machine": machine,
        "versions": tool_versions(),
        "rows": rows,
    }
    output.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    output.with_suffix(".svg").write_text(bar_chart(result), encoding="utf-8")
    cli.result_console().print(terminal_table(result))
    print(f"{output}\n{output.with_suffix('.svg')}")
    return EXIT_OK


def _writable(output: Path) -> Path:
    """Before the long work, not after it."""
    if output.suffix != ".json":
        raise BadInputError("The result is a JSON file.", expected="--output FILE.json", got=output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise BadInputError("The result cannot be written.", got=error, where=output) from error
    return output


if __name__ == "__main__":
    sys.exit(main())
