"""What `benchmark` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_edge.commands.tables import in_ms, new_table, print_json
from perceiver_edge.progress import result_console


def show_benchmark(
    rows: Sequence[Mapping[str, Any]],
    profiles: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    device: str,
    threads: int,
    pause_ms: int,
    as_json: bool,
) -> None:
    """What `perceiver_edge.commands.benchmark` measured: a line an artefact and engine, then times by operator."""
    if as_json:
        about = {"device": device, "threads": threads, "pause_ms": pause_ms}
        print_json("benchmark", {**about, "rows": list(rows), "profiles": dict(profiles)})
        return
    console = result_console()
    table = new_table("artefact", "engine", "load", "first", "p50", "p90", "after a pause", "processor", "peak memory")
    for row in rows:
        times = [in_ms(row[key]) for key in ("load_ms", "first_ms", "p50_ms", "p90_ms", "paused_ms")]
        times.append(" / ".join(filter(None, (in_ms(row["processor_ms"]), in_ms(row["paused_processor_ms"])))))
        peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.1f} MB"
        table.add_row(row["artefact"], row["engine"], *times, peak)
    console.print(table)
    console.print(
        f"{device}, {threads} threads. Each in a process of its own, in turns: back to back (p50, p90) and after "
        f"{pause_ms} ms; processor: time of all threads for one inference, in both. Memory above that of the engine "
        "alone.",
        markup=False,
    )
    for name, times_of in profiles.items():
        of_operators = new_table("operator", "calls", "time", "share", title=f"{name}: time by operator")
        total = sum(time["ms"] for time in times_of)
        for time in times_of:
            share = f"{time['ms'] / total:.1%}"
            of_operators.add_row(time["operator"], f"{time['calls']:g}", f"{time['ms']:.3g} ms", share)
        console.print(of_operators)


def show_throughput(rows: Sequence[Mapping[str, Any]], *, device: str, as_json: bool) -> None:
    """What one model answers with all threads, and what several do that share them."""
    if as_json:
        print_json("throughput", {"device": device, "rows": list(rows)})
        return
    console = result_console()
    table = new_table("artefact", "engine", "streams × threads", "samples a second")
    for row in rows:
        shape = f"{row['streams']} × {row['threads']}"
        table.add_row(row["artefact"], row["engine"], shape, f"{row['samples_per_s']:.4g}")
    console.print(table)
    console.print(f"{device}. Each line in a process of its own, every stream asked all the time.", markup=False)
