"""python -m perceiver_edge.benchmark BUNDLE: how fast a bundle is here, in every engine that is installed."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_edge.commands.cli import Command, positive
from perceiver_edge.commands.speeds import measure, measure_on_phone, profile, throughput
from perceiver_edge.errors import EXIT_OK

if TYPE_CHECKING:
    from perceiver_edge.measure.profile import OperatorTime

DESCRIPTION = """\
Measure every artefact of a bundle in every engine that is installed: each in a process of its own, in turns, on the
first of the bundle's held-out samples. Writes nothing, needs no TensorFlow."""


def _add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle", type=Path, help="a folder that convert made, such as build/digits")
    p.add_argument(
        "--threads",
        type=positive,
        help="inside one inference (default: the processors that this process may use, at most 4)",
    )
    p.add_argument(
        "--pause", type=positive, default=100, metavar="MS",
        help="between two inferences, beside those back to back (default: %(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--streams", type=positive, metavar="N",
        help="instead: samples a second of one model with all threads, and of N models at once that share them",
    )  # fmt: skip
    p.add_argument("--profile", action="store_true", help="also where the time goes by operator (ONNX Runtime)")
    p.add_argument(
        "--android", type=Path, metavar="BENCHMARK_MODEL",
        help="measure the .tflite files on the phone that adb reaches instead, with this LiteRT benchmark_model",
    )  # fmt: skip
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    p.add_argument("--quiet", action="store_true", help="no progress")


def _benchmark(args: argparse.Namespace) -> int:
    from perceiver_edge.bundle.folder import read_bundle
    from perceiver_edge.commands.libraries import require_libraries
    from perceiver_edge.commands.show_speed import show_benchmark, show_throughput
    from perceiver_edge.measure.latency import describe_device
    from perceiver_edge.progress import on_console
    from perceiver_edge.runtime import default_threads

    require_libraries("rich", extra="verify")
    bundle = read_bundle(args.bundle)
    threads = args.threads or default_threads()
    progress = on_console(quiet=args.quiet)
    profiles: dict[str, tuple[OperatorTime, ...]] = {}
    if args.streams:
        with progress("measure the throughput"):
            streams = [dataclasses.asdict(row) for row in throughput(bundle, threads=threads, streams=args.streams)]
        show_throughput(streams, device=describe_device(), as_json=args.json)
        return EXIT_OK
    if args.android:
        with progress("measure on the phone"):
            device, rows = measure_on_phone(bundle, args.android, threads=threads)
    else:
        with progress("measure"):
            device, rows = describe_device(), measure(bundle, threads=threads, pause_s=args.pause / 1000)
        if args.profile:
            with progress("profile"):
                profiles = profile(bundle, threads=threads)
    show_benchmark(
        [dataclasses.asdict(row) for row in rows],
        {name: [dataclasses.asdict(time) for time in times] for name, times in profiles.items()},
        device=device, threads=threads, pause_ms=args.pause, as_json=args.json,
    )  # fmt: skip
    return EXIT_OK


COMMAND = Command("benchmark", "how fast a bundle is here", DESCRIPTION, _add_arguments, _benchmark)
main = COMMAND.main
