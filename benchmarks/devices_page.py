"""Write docs/devices.md from what was seen: the JSON of `verify --runtimes` and of `mobile/estimate.py`.

python benchmarks/devices_page.py            # reads benchmarks/results/{devices,arm_cores}_*.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "devices.md"


def page(results: Path) -> str:
    """The page for all results of a folder, models in alphabetical order."""
    environment = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("devices.md.j2").render(
        matrices=[{**matrix, "cells": list(_cells(matrix))} for matrix in _read(results, "devices_*.json")],
        estimates=_read(results, "arm_cores_*.json"),
    )


def _read(results: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob(pattern))]


def _cells(matrix: Mapping[str, Any]) -> Iterator[list[str]]:
    for row in matrix["rows"]:
        runtime = f"{row['runtime']} {row['version']}" if row["version"] else row["runtime"]
        reference, native = row["reference"], row["native"]
        compared = ["–"] * 4
        if reference:
            compared[:2] = [f"{float(reference['metrics']['relative_l2']):.2g}", _top1(reference)]
        if native:
            same = float(native["metrics"]["max_abs_error"]) == 0
            compared[2:] = ["identical" if same else f"{float(native['metrics']['cosine']):.6f}", _top1(native)]
        passed = [judged["passed"] for judged in (reference, native) if judged]
        verdict = row["reason"] if row["status"] == "not run" else "✓" if all(passed) else "✗"
        yield [f"`{row['artefact']}`", runtime, row["status"], *compared, verdict]


def _top1(judged: Mapping[str, Any]) -> str:
    agreement = judged["metrics"]["top1_agreement"]
    return "–" if agreement is None else f"{float(agreement):.1%}"


if __name__ == "__main__":
    PAGE.write_text(page(HERE / "results"), encoding="utf-8")
