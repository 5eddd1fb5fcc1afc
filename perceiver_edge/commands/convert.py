"""python -m perceiver_edge.convert: a Perceiver in, proven TFLite and ONNX models out."""

from __future__ import annotations

import argparse

from perceiver_edge.commands.cli import Command
from perceiver_edge.commands.flags import add_flags, options_of
from perceiver_edge.errors import EXIT_OK

DESCRIPTION = """\
Compile a Perceiver into TFLite and ONNX models, calibrate them on representative data, prove each against the float
reference on data that calibration never saw, and publish them as a bundle. Without options it compiles the trained
digits Perceiver that ships with the package.

exit codes: 0 done, 1 a parity gate failed (nothing published), 2 bad usage or input, 70 a defect of this
program"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser)
    out = parser.add_argument_group("what is printed")
    out.add_argument("--dry-run", action="store_true", help="say what would be done and why, and write nothing")
    out.add_argument("--json", action="store_true", help="print the result as JSON")
    out.add_argument("--quiet", action="store_true", help="no progress")


def _convert(args: argparse.Namespace) -> int:
    from perceiver_edge.commands.libraries import COMPILER, import_tensorflow, require_libraries

    require_libraries(*COMPILER)
    from perceiver_edge.commands.show_bundle import show_bundle
    from perceiver_edge.commands.show_parity import show_parity
    from perceiver_edge.commands.show_plan import show_plan
    from perceiver_edge.commands.tables import print_notices
    from perceiver_edge.compiler.job import prepare
    from perceiver_edge.progress import FinishedStage, on_console, progress_console
    from perceiver_edge.proof.parity import ParityError

    finished: list[FinishedStage] = []
    progress = on_console(quiet=args.quiet, finished=finished)
    job = prepare(options_of(args, progress=progress), dry_run=args.dry_run)
    if args.dry_run:
        show_plan(job, as_json=args.json)
        return EXIT_OK
    with progress("import TensorFlow"):
        import_tensorflow()
    from perceiver_edge.compiler.pipeline import run

    console = progress_console(quiet=args.quiet)
    try:
        bundle = run(job, warn=lambda text: print_notices(console, [text]))
    except ParityError as failure:
        show_parity(failure.report, as_json=args.json)
        raise
    show_bundle(bundle, as_json=args.json, stages=finished)
    return EXIT_OK


COMMAND = Command("convert", "compile a Perceiver into proven models", DESCRIPTION, _add_arguments, _convert)
main = COMMAND.main
