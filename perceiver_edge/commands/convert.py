"""python -m perceiver_edge.convert: a Perceiver in, proven TFLite and ONNX models out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK, BadInputError

DESCRIPTION = """\
Compile a Perceiver into TFLite and ONNX models, calibrate them on representative data, prove each against the float
reference on data that calibration never saw, and publish them as a bundle. Without options it compiles the trained
digits Perceiver that ships with the package.

exit codes: 0 done, 1 a parity gate failed (nothing published), 2 bad usage or input, 70 a defect of this
program"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m perceiver_edge.convert",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--model",
        default="digits",
        help="digits (trained), readme, paper, video, audio, points or tiny (random weights), or a folder with "
        "config.json and model.safetensors, ours or perceiver-pytorch's (default: %(default)s)",
    )
    p.add_argument(
        "--quantize",
        default="int8",
        choices=("none", "fp16", "dynamic", "int8"),
        help="precision of the models beside the float32 ones (default: %(default)s)",
    )
    p.add_argument("--only", action="store_true", help="do not write the float32 models beside the quantised ones")
    p.add_argument("--formats", nargs="+", choices=("tflite", "onnx"), default=("tflite", "onnx"))

    data = p.add_argument_group("calibration and proof")
    data.add_argument(
        "--calibration-data",
        metavar="DATA",
        help="representative samples, some to calibrate and others to prove with: a folder of pictures, a .npy or .npz "
        "file keyed by input name, package.module:function, or the word random",
    )
    data.add_argument("--num-samples", type=int, default=128, help="samples to calibrate with (default: %(default)s)")
    data.add_argument(
        "--num-held-out", type=int, help="samples to prove with (default: 64, or all of the embedded test split)"
    )
    data.add_argument("--seed", type=int, default=0, help="draws samples and random weights (default: %(default)s)")
    data.add_argument(
        "--method", choices=("minmax", "percentile", "mse"), help="how ranges are chosen (default: minmax)"
    )
    data.add_argument("--calibration", metavar="FILE", help="a calibration.json to use instead of observing")
    data.add_argument(
        "--gate",
        action="append",
        default=[],
        metavar="NAME=BOUND",
        help="change a parity bound: relative_l2, cosine, top1_agreement, sensitivity_min, sensitivity_max, "
        "centred_cosine; may be repeated",
    )

    shape = p.add_argument_group("the deployed model")
    shape.add_argument("--name", help="of the bundle and its files (default: the model's)")
    shape.add_argument("--input-shape", metavar="H,W", help="sizes of the input axes, such as 224,224")
    shape.add_argument("--batch", type=int, default=1, help="fixed batch size (default: %(default)s)")
    shape.add_argument("--mask", action="store_true", help="add a boolean input 'mask' (True: attend to this token)")
    shape.add_argument(
        "--optimize-for",
        choices=("latency", "memory"),
        default="latency",
        help="memory: attend to the tokens in chunks wherever softmax is computed in float (default: %(default)s)",
    )
    shape.add_argument("--opset", type=int, default=18, help="ONNX opset, 18 to 20 (default: %(default)s)")

    out = p.add_argument_group("output")
    out.add_argument("--output", metavar="DIR", help="default: build/<name>")
    out.add_argument("--overwrite", action="store_true", help="replace an existing bundle")
    out.add_argument(
        "--threads", type=int, help="for proving and for the latency measurement (default: all processors, at most 4)"
    )
    out.add_argument("--no-cache", action="store_true", help="repeat every stage, and keep no results for the next run")
    out.add_argument("--dry-run", action="store_true", help="say what would be done and why, and write nothing")
    out.add_argument("--json", action="store_true", help="print the result as JSON")
    out.add_argument("--quiet", action="store_true", help="no progress")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return cli.run(lambda: _convert(args))


def _convert(args: argparse.Namespace) -> int:
    from perceiver_edge.commands.libraries import COMPILER, import_tensorflow, require_libraries

    require_libraries(*COMPILER)
    from perceiver_edge.commands import show
    from perceiver_edge.compiler.job import Options, prepare
    from perceiver_edge.progress import FinishedStage, on_console, progress_console
    from perceiver_edge.proof.gates import ParityError

    finished: list[FinishedStage] = []
    progress = on_console(quiet=args.quiet, finished=finished)
    options = Options(
        quantize=args.quantize, samples=args.calibration_data, calibration=args.calibration, method=args.method,
        num_samples=args.num_samples, num_held_out=args.num_held_out, gates=dict(_gate(text) for text in args.gate),
        name=args.name, input_shape=_shape(args.input_shape), batch=args.batch, with_mask=args.mask,
        formats=tuple(dict.fromkeys(args.formats)), only=args.only, optimize_for=args.optimize_for,
            opset=args.opset, output=args.output,
        overwrite=args.overwrite, threads=args.threads, seed=args.seed, cache=not args.no_cache,
    )  # fmt: skip
    job = prepare(args.model, options, dry_run=args.dry_run)
    if args.dry_run:
        show.plan(job, as_json=args.json)
        return EXIT_OK
    with progress("import TensorFlow"):
        import_tensorflow()
    from perceiver_edge.compiler.pipeline import run

    console = progress_console(quiet=args.quiet)
    try:
        bundle = run(job, progress=progress, warn=lambda text: console.print(f"[yellow]![/yellow] {text}"))
    except ParityError as failure:
        show.parity(failure.report, as_json=args.json)
        raise
    show.bundle(bundle, as_json=args.json, stages=finished)
    return EXIT_OK


def _gate(text: str) -> tuple[str, float]:
    name, _, bound = text.partition("=")
    try:
        return name, float(bound)
    except ValueError:
        raise BadInputError("--gate is not usable.", expected="NAME=BOUND, such as cosine=0.995", got=text) from None


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise BadInputError(
            "--input-shape is not usable.", expected="sizes with commas, such as 224,224", got=text
        ) from None
