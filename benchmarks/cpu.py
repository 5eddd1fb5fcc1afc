"""How do our models compare, on this CPU, with what a user would otherwise pick, and with the fastest possible?

    python benchmarks/cpu.py [--model NAME] [--quick]      measure; the default is digits
    python benchmarks/cpu.py --folder MODEL --data FILE    measure a trained model
    python benchmarks/cpu.py --sweep tokens|latents        time and memory over a size of the README model
    python benchmarks/cpu.py --table RESULT.json ...       print a result of either as Markdown; several: a line each

Peers' environments are made once with ``python benchmarks/environments.py``; one that is not made is reported as
missing, with the reason. Peers' models and our bundles are made on the first run and kept in ``build/peers/``: a run
that was stopped goes on where it was, and later runs only measure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments import CACHE
from sources import PRESETS, PUBLISHED, SAMPLES_OF_TRAINED, TRAINED, Source, source_of

from perceiver_edge.commands import cli
from perceiver_edge.errors import EXIT_OK, BadInputError

if TYPE_CHECKING:
    from subject import Subject

    from perceiver_edge.progress import Progress

RESULTS = Path(__file__).parent / "results"
_BUDGET_S = 90.0
_QUICK_ROUNDS = 3


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/cpu.py",
        description="Compare our models with what a user would otherwise pick: latency, memory, size and parity.",
    )
    parser.add_argument(
        "--model", choices=(*PRESETS, *TRAINED, *PUBLISHED), default="digits", help="default: %(default)s"
    )
    parser.add_argument("--folder", type=Path, help="instead: a model of yours, config.json and model.safetensors")
    parser.add_argument("--data", type=Path, help="with --folder: its samples, what --calibration-data takes")
    parser.add_argument(
        "--samples", type=cli.positive, nargs=2, metavar="N", help="with --folder: to calibrate and to judge with"
    )
    parser.add_argument("--sweep", choices=("tokens", "latents"), help="instead: vary one size of the README model")
    parser.add_argument(
        "--table", type=Path, nargs="+", metavar="RESULT.json",
        help="instead: print a result as Markdown; several as one table, a line each",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=cli.positive, nargs="+", default=[1, 2], metavar="N", help="measured one after the other"
    )
    parser.add_argument(
        "--rounds", type=cli.positive, metavar="N",
        help=f"turns of each model (default: at least 5, and as fit in {_BUDGET_S:g} s for each number of threads; "
        "12 s for each size of a sweep)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help=f"try it out: {_QUICK_ROUNDS} rounds, 2 threads")
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="only make what is to be measured, ours and the peers, and let them answer the samples",
    )
    parser.add_argument("--prepare-peers", action="store_true", help="only make the peers: ours is not even compiled")
    parser.add_argument(
        "--leave-out", nargs="+", default=(), metavar="WORD", help="peers with such a word in their name, such as int8"
    )
    floor = parser.add_mutually_exclusive_group()
    floor.add_argument("--rates", action="store_true", help="measure the rates of the floor again")
    floor.add_argument("--no-floor", action="store_true", help="leave the floor out: its rates take minutes")
    parser.add_argument("--cache", type=Path, default=CACHE, help="environments, peers, bundles (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="an .svg is written beside it (default: benchmarks/results/)"
    )
    arguments = parser.parse_args(argv)
    if (arguments.folder is None) != (arguments.data is None):
        parser.error("--folder and --data go together")
    if arguments.folder:
        arguments.model = arguments.folder.resolve().name
    if arguments.quick:
        arguments.rounds, arguments.threads = arguments.rounds or _QUICK_ROUNDS, arguments.threads[-1:]
    command = _table if arguments.table else _sweep if arguments.sweep else _measure
    return cli.run(lambda: command(arguments))


def _table(arguments: argparse.Namespace) -> int:
    import presentation
    import sweep_presentation
    from summary import markdown_summary

    if len(arguments.table) > 1:
        print(markdown_summary([presentation.read_result(path, presentation.BENCHMARK) for path in arguments.table]))
        return EXIT_OK
    result = presentation.read_result(*arguments.table, presentation.BENCHMARK, sweep_presentation.BENCHMARK)
    of_benchmark = presentation if result["benchmark"] == presentation.BENCHMARK else sweep_presentation
    print(of_benchmark.markdown_table(result))
    return EXIT_OK


def _measure(arguments: argparse.Namespace) -> int:
    from chart import bar_chart
    from comparisons import comparisons, markdown
    from floor import measured_rates
    from machine import machine_name
    from measure import compare, operations_of
    from presentation import BENCHMARK, not_run, terminal_table
    from subject import read_subject

    from perceiver_edge.progress import on_console

    progress = on_console(quiet=False)
    output = _output(arguments, f"{BENCHMARK}_{arguments.model}_{machine_name()}")
    if arguments.prepare_peers:
        return _prepare_peers(arguments, progress)
    subject = read_subject(_source(arguments), arguments.cache, progress=progress)
    operations = operations_of(subject)
    if arguments.prepare:
        return _prepare(subject, arguments, progress)
    manifest = subject.bundle.manifest
    about = {
        "benchmark": BENCHMARK,
        "model": arguments.model,
        "weights_fingerprint": manifest.weights_fingerprint,
        "is_random_weights": subject.model.is_random_weights,
        "input_shape": "×".join(map(str, subject.model.sample_shape)),
        "samples": Path(subject.held_out.source).name,  # a result is shown to others, this machine's folders are not
        "num_samples": len(subject.held_out),
        "num_answers": None if subject.labels is None else int((subject.labels >= 0).sum()),
        "num_calibration": len(next(iter(subject.calibration.values()))),
        "threads": [str(number) for number in arguments.threads],
        "quick": arguments.quick,
        "operations": None if operations is None else vars(operations),
        **_where(),
    }
    rates = {
        number: measured_rates(arguments.cache, threads=number, again=arguments.rates, progress=progress)
        for number in arguments.threads
        if not arguments.no_floor and operations is not None
    }
    rows, missing = compare(
        subject, arguments.cache, threads=arguments.threads, rounds=arguments.rounds, budget_s=_BUDGET_S,
        rates=rates, leave_out=arguments.leave_out, progress=progress,
    )  # fmt: skip
    by_threads = {str(number): of_engines for number, of_engines in rates.items()}
    result = {**about, "rates_per_s": by_threads, "rows": rows, "missing": missing}
    _write(result, output)  # what was measured is kept, whatever comes after
    _write(result | {"comparisons": comparisons(result)}, output)
    bar_chart(result, output.with_suffix(".svg"))
    from perceiver_edge.progress import result_console

    console = result_console()
    console.width = max(console.width, 200)
    console.print(terminal_table(result))
    print(markdown(result))
    for reason in not_run(result):
        print(f"not run: {reason}")
    print(f"{output}\n{output.with_suffix('.svg')}")
    return EXIT_OK


def _source(arguments: argparse.Namespace) -> Source:
    if arguments.folder is None:
        return source_of(arguments.model, arguments.cache)
    counts = tuple(arguments.samples or SAMPLES_OF_TRAINED)
    return Source(name=arguments.model, model=arguments.folder, data=arguments.data, counts=counts)


def _prepare(subject: Subject, arguments: argparse.Namespace, progress: Progress) -> int:
    from measure import answer, prepare

    present, missing = prepare(subject, arguments.cache, progress, leave_out=arguments.leave_out)
    answer(present, subject, arguments.cache, threads=max(arguments.threads), progress=progress)
    return _say_prepared(len(present), missing)


def _prepare_peers(arguments: argparse.Namespace, progress: Progress) -> int:
    from measure import make_peers
    from subject import choose

    chosen = choose(_source(arguments), arguments.cache)
    present, missing = make_peers(
        chosen.model, chosen.calibration, arguments.cache, progress, leave_out=arguments.leave_out
    )  # fmt: skip
    return _say_prepared(len(present), missing)


def _say_prepared(num_present: int, missing: Sequence[dict[str, str]]) -> int:
    from presentation import not_run

    print(
        f"{num_present} are ready to be measured, {len(missing)} are not:", *not_run({"missing": missing}), sep="\n"
    )  # fmt: skip
    return EXIT_OK


def _sweep(arguments: argparse.Namespace) -> int:
    from chart import line_chart
    from machine import machine_name
    from sweep import points, sweep
    from sweep_presentation import markdown_table

    from perceiver_edge.progress import on_console

    making = {"quick": arguments.quick, "leave_out": tuple(arguments.leave_out), "progress": on_console(quiet=False)}
    if arguments.prepare:
        num_present, missing = 0, []
        for point in points(arguments.sweep, arguments.cache, **making):
            num_present += len(point.present)
            missing += [gone | {"made_by": f"{point.variant.name}: {gone['made_by']}"} for gone in point.missing]
        return _say_prepared(num_present, missing)
    output = _output(arguments, f"sweep_{arguments.sweep}_{machine_name()}")
    measured = sweep(
        arguments.sweep, arguments.cache, threads=max(arguments.threads), rounds=arguments.rounds, **making
    )  # fmt: skip
    result = {**measured, **_where()}
    _write(result, output)
    line_chart(result, output.with_suffix(".svg"))
    print(f"{markdown_table(result)}\n{output}\n{output.with_suffix('.svg')}")
    return EXIT_OK


def _where() -> dict[str, Any]:
    from environments import requirements
    from machine import describe_machine

    from perceiver_edge.provenance import tool_versions

    return {"machine": describe_machine(), "versions": tool_versions(), "peers": requirements()}


def _write(result: dict[str, Any], output: Path) -> None:
    output.write_text(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _output(arguments: argparse.Namespace, name: str) -> Path:
    """Checked before the long work, not after it."""
    output = arguments.output or (arguments.cache if arguments.quick else RESULTS) / f"{name}.json"
    if output.suffix != ".json":
        raise BadInputError("The result is a JSON file.", expected="--output FILE.json", got=output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(output if output.exists() else output.parent, os.W_OK):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise BadInputError("The result cannot be written.", got=error, where=output) from error
    _require_same_machine(output)
    return output


def _require_same_machine(output: Path) -> None:
    """Two processors may have one name, such as a cloud's: what another machine measured is kept."""
    from machine import describe_machine

    try:
        there = json.loads(output.read_text(encoding="utf-8"))["machine"]
    except (OSError, ValueError, KeyError, TypeError):  # nothing, or no result
        return
    here, same = describe_machine(), ("cpu", "architecture", "instructions", "processors")
    if any(there.get(key) != here[key] for key in same):
        raise BadInputError(
            "The result there is another machine's.", expected="; ".join(str(here[key]) for key in same),
            got="; ".join(str(there.get(key)) for key in same), where=output, fix="--output FILE.json",
        )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
