"""python -m perceiver_edge.verify: prove a bundle again, here, with the samples it carries. Needs no TensorFlow."""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_edge.commands.cli import Command
from perceiver_edge.errors import EXIT_OK, BadInputError, GateError

if TYPE_CHECKING:
    import numpy as np

    from perceiver_edge.bundle.folder import Bundle
    from perceiver_edge.progress import Progress
    from perceiver_edge.proof.parity import ParityReport

_FEWEST_SAMPLES = 2
"""Of one sample nobody can say whether the output varies with the input."""


DESCRIPTION = """\
Check every file of a bundle against its hash, run every artefact on the held-out samples that the bundle carries, and
hold the outputs to this version's gates, with the bounds that were chosen for the bundle. The error of single int8
layers is taken over from the bundle: it is a property of the file, and its measurement needs TensorFlow and the float
weights. Writes nothing, but what --output names."""


def _add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle", type=Path, help="a folder that convert made, such as build/digits")
    p.add_argument("--threads", type=int, help="for the engines (default: the processors they may use, at most 4)")
    p.add_argument(
        "--runtimes", metavar="NAMES",
        help="run the artefacts in every runtime of this comma-separated list, or in 'all', and compare each with the "
        "float reference and with this processor; one that is not here is 'not run', with what to install",
    )  # fmt: skip
    p.add_argument(
        "--samples", type=int, metavar="N", help="with --runtimes: only the first N held-out samples, at least 2"
    )
    p.add_argument("--output", type=Path, metavar="FILE", help="with --runtimes: write what was seen as JSON")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    p.add_argument("--quiet", action="store_true", help="no progress")


def _verify(args: argparse.Namespace) -> int:
    if args.runtimes is None and (args.output, args.samples) != (None, None):
        raise BadInputError("--output and --samples go with --runtimes.")
    if args.samples is not None and args.samples < _FEWEST_SAMPLES:
        raise BadInputError("--samples is out of range.", expected=f"at least {_FEWEST_SAMPLES}", got=args.samples)
    if args.runtimes is not None and args.threads is not None:
        raise BadInputError("--threads does not go with --runtimes: each runtime has its own default.")
    from perceiver_edge.bundle.folder import read_bundle
    from perceiver_edge.bundle.report import warnings
    from perceiver_edge.commands.libraries import VERIFIER, require_libraries
    from perceiver_edge.commands.proven import conclusion, differences
    from perceiver_edge.commands.show_parity import show_parity
    from perceiver_edge.proof.parity import ParityError

    bundle = read_bundle(args.bundle)
    formats = dict.fromkeys(artefact.format for artefact in bundle.manifest.artefacts.values())
    require_libraries("rich", *(name for format_ in formats for name in VERIFIER.get(format_, ())), extra="verify")
    if args.runtimes is not None:
        return _verify_runtimes(bundle, args)
    report = verify(bundle, threads=args.threads, quiet=args.quiet)
    notices = warnings(bundle.manifest, report)
    if other := differences(bundle):
        notices.append(other)
    show_parity(report, as_json=args.json, notices=notices, conclusion=conclusion(report))
    if not report.passed:
        raise ParityError(report, outcome="the bundle is as it was")
    return EXIT_OK


def verify(bundle: Bundle, *, threads: int | None, quiet: bool) -> ParityReport:
    """Prove every artefact of a bundle again.

    Raises:
        BadInputError: a damaged bundle.
    """
    from perceiver_edge.bundle.evidence import read_gates, read_held_out
    from perceiver_edge.progress import on_console
    from perceiver_edge.proof.inside import look_inside
    from perceiver_edge.proof.parity import ParityReport
    from perceiver_edge.proof.prove import prove

    progress = on_console(quiet=quiet)
    manifest = bundle.manifest
    held_out, (gates, overrides) = read_held_out(bundle), read_gates(bundle)
    _require_survivable(bundle, progress)

    @functools.cache
    def rows_inside(peer: str) -> dict[str, np.ndarray]:
        batch_size = manifest.artefacts[peer].inputs[0].shape[0]
        return look_inside(bundle.read(peer), held_out, batch_size=batch_size).rows

    proven = []
    layers = {artefact.name: artefact.worst_layer for artefact in bundle.parity.artefacts}
    for name, artefact in manifest.artefacts.items():
        with progress(f"prove {name}"):
            peer = manifest.float_peer(artefact)
            reference = rows_inside(peer) if peer is not None and peer != name else {}
            proven.append(
                prove(
                    name, bundle.read(name), held_out, precision=artefact.precision, gates=gates[artefact.precision],
                    is_classifier=manifest.is_classifier, layer_reference=reference,
                    proven_layer=layers.get(name), threads=threads,
                )
            )  # fmt: skip
    return ParityReport(
        artefacts=tuple(proven), num_samples=len(held_out), samples_source=held_out.source,
        is_random_weights=manifest.is_random_weights, is_random_data=held_out.is_random,
        gate_overrides=overrides, num_different=held_out.num_different,
    )  # fmt: skip


def _require_survivable(bundle: Bundle, progress: Progress) -> None:
    """Of all artefacts, before the first is loaded here: a bundle may come from anywhere."""
    from perceiver_edge.runtime.isolated import require_survivable

    with progress("load in a process apart"):
        for name in bundle.manifest.artefacts:
            require_survivable(bundle.read(name), where=name)


def _verify_runtimes(bundle: Bundle, args: argparse.Namespace) -> int:
    from perceiver_edge.bundle.evidence import read_gates, read_held_out
    from perceiver_edge.commands.show_matrix import show_matrix
    from perceiver_edge.devices.matrix import run_matrix
    from perceiver_edge.devices.runtimes import chosen
    from perceiver_edge.progress import on_console

    runtimes = chosen(args.runtimes)
    if args.output is not None:
        try:
            args.output.open("a").close()  # before the long work, not after it
        except OSError as error:
            raise BadInputError("The result cannot be written.", got=error, where=args.output) from error
    held_out, (gates, _) = read_held_out(bundle), read_gates(bundle)
    if args.samples is not None:
        held_out = held_out.first(args.samples)
    manifest, progress = bundle.manifest, on_console(quiet=args.quiet)
    _require_survivable(bundle, progress)
    matrix = run_matrix(
        manifest.name, {name: (artefact, bundle.read(name)) for name, artefact in manifest.artefacts.items()}, held_out,
        runtimes=runtimes, gates=gates, is_classifier=manifest.is_classifier,
        is_random_weights=manifest.is_random_weights, progress=progress,
    )  # fmt: skip
    if args.output is not None:
        content = json.dumps(matrix.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            args.output.write_text(content, encoding="utf-8")
        except OSError as error:
            raise BadInputError("The result cannot be written.", got=error, where=args.output) from error
    show_matrix(matrix, as_json=args.json)
    if failed := [row for row in matrix.rows if row.failed]:
        raise GateError(
            f"{len(failed)} of {len(matrix.rows)} rows failed.",
            got="; ".join(f"{row.artefact} in {row.runtime}" for row in failed),
            fix="the table's last column says which comparison failed",
        )
    return EXIT_OK


COMMAND = Command("verify", "prove a bundle again, here", DESCRIPTION, _add_arguments, _verify)
main = COMMAND.main
