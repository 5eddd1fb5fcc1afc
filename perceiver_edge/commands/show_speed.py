"""What `benchmark` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perceiver_edge.bundle.figures import in_ms
from perceiver_edge.commands.tables import print_json, print_table
from perceiver_edge.errors import counted
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
    print_table(
        console, [_cells(row) for row in rows], least_needed=("load", "first", "peak memory", "processor", "p90")
    )
    console.print(
        f"{device}, {counted(threads, 'thread')}. Each in a process of its own, in turns: back to back (p50, p90) and "
        f"after {pause_ms} ms; processor: time of all threads for one inference, in both. Memory above that of the "
        "engine alone.",
        markup=False,
    )
    for name, times_of in profiles.items():
        total = sum(time["ms"] for time in times_of)
        by_operator = [
            {
                "operator": time["operator"], "calls": f"{time['calls']:g}", "time": in_ms(time["ms"]),
                "share": f"{time['ms'] / total:.1%}",
            }
            for time in times_of
        ]  # fmt: skip
        print_table(console, by_operator, title=f"{name}: time by operator")


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    def ms(name: str) -> str:
        return "" if row[name] is None else in_ms(row[name])

    processor = filter(None, (ms("processor_ms"), ms("paused_processor_ms")))
    return {
        "artefact": row["artefact"], "engine": row["engine"], "load": ms("load_ms"), "first": ms("first_ms"),
        "p50": ms("p50_ms"), "p90": ms("p90_ms"), "after\na pause": ms("paused_ms"),
        "processor": " / ".join(processor),
        "peak memory": "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.1f} MB",
    }  # fmt: skip


def show_throughput(rows: Sequence[Mapping[str, Any]], *, device: str, as_json: bool) -> None:
    """What one model answers with all threads, and what several do that share them."""
    if as_json:
        print_json("throughput", {"device": device, "rows": list(rows)})
        return
    console = result_console()
    print_table(console, [
        {
            "artefact": row["artefact"], "engine": row["engine"],
            "streams × threads": f"{row['streams']} × {row['threads']}",
            "samples a second": f"{row['samples_per_s']:.4g}",
        }
        for row in rows
    ])  # fmt: skip
    console.print(f"{device}. Each line in a process of its own, every stream asked all the time.", markup=False)
