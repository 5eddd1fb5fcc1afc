"""What `convert --dry-run` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from perceiver_edge.bundle.pictures import pixels_become
from perceiver_edge.commands.tables import add_row, new_table, print_json, print_notices
from perceiver_edge.errors import counted
from perceiver_edge.progress import result_console

if TYPE_CHECKING:
    from perceiver_edge.compiler.job import Job


def show_plan(job: Job, *, as_json: bool) -> None:
    """What a compilation would do, and why."""
    decisions = job.lowering_decisions()
    facts = {
        "model": job.model.name,
        "weights": "random" if job.model.is_random_weights else f"SHA-256 {job.model.checkpoint.fingerprint[:16]}…",
        "input": f"{job.options.batch} × {list(job.model.sample_shape)}",
        "calibrate with": _calibration(job),
        "prove with": f"{counted(len(job.proving), 'sample')}: {job.proving.description}",
        "write to": f"{job.destination}{' (exists: needs --overwrite)' if _needs_overwrite(job) else ''}",
        "files": ", ".join(job.file_names()),
    }
    if job.answers is not None:
        facts["reference"] = "compared with your answers before anything is converted; a dry run does not"
    if job.proving.are_pictures and (sentence := pixels_become(job.model.checkpoint.config, job.model.input_spec)):
        facts["pictures"] = sentence
    if as_json:
        print_json("plan", {
            "model": job.model.name, "is_random_weights": job.model.is_random_weights,
            "weights_fingerprint": job.model.checkpoint.fingerprint,
            "input_shape": [job.options.batch, *job.model.sample_shape],
            "num_calibration": len(job.calibrating), "num_held_out": len(job.proving),
            "samples_source": job.proving.description, "output": str(job.destination),
            "needs_overwrite": _needs_overwrite(job), "files": list(job.file_names()),
            "lowering": [asdict(decision) for decision in decisions],
            "gates": {precision: vars(gates) for precision, gates in job.gates.items()}, "notices": list(job.notices),
        })  # fmt: skip
        return
    console = result_console()
    summary = new_table("", "", title="Dry run: nothing is written")
    for name, fact in facts.items():
        add_row(summary, name, fact)
    console.print(summary)
    print_notices(console, job.notices)
    lowering = new_table("lowering rule", "", "why")
    for decision in decisions:
        add_row(lowering, decision.rule, "applies" if decision.applied else "skipped", decision.reason)
    console.print(lowering)


def _calibration(job: Job) -> str:
    if "int8" not in job.options.precisions:
        return "nothing: only int8 needs ranges"
    if job.ranges is not None:
        return f"the ranges given, of {counted(job.ranges.num_samples, 'sample')}: {job.ranges.source}"
    return f"{counted(len(job.calibrating), 'sample')}: {job.calibrating.description}"


def _needs_overwrite(job: Job) -> bool:
    return job.destination.exists() and not job.options.overwrite
