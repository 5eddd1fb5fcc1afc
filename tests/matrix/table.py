"""python table.py RESULTS DOCUMENT: write the matrix's results, a file of JSON a cell, into a document's two tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

START, END = "<!-- matrix: made by `nox -s table` -->\n", "<!-- end of the matrix -->\n"
NO_WHEELS = "does not install"
NOT_RUN = "–"

Result = dict[str, object]


def cell(result: Result | None) -> str:
    """✓ with the accuracy and the relative L2 of each model that ran; an environment that failed leaves no result."""
    if result is None:
        return NOT_RUN
    if result["answers"] is None:
        return NO_WHEELS
    answers = result["answers"].values()  # type: ignore[attr-defined]
    accuracy = min(answer["accuracy"] for answer in answers)
    return f"✓ {accuracy:.2%}, " + " and ".join(f"{answer['relative_l2']:.4f}" for answer in answers)


def table(results: Iterable[Result], row: str, column: str, key: Callable[[str], object]) -> str:
    """A Markdown table of the results by the values of two of their keys."""
    by_place = {(str(result[row]), str(result[column])): result for result in results}
    rows = sorted({place[0] for place in by_place}, key=key)
    columns = sorted({place[1] for place in by_place}, key=key)
    lines = [f"| {row} | {' | '.join(f'{column} {name}' for name in columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(cell(by_place.get((name, other))) for other in columns)} |" for name in rows]
    return "\n".join(lines)


def by_version(name: str) -> tuple[object, ...]:
    """Words before numbers, and 3.9 before 3.10."""
    package, _, version = name.rpartition(" ")
    return package, *(int(part) for part in version.split(".") if part.isdigit())


def document(old: str, results: list[Result]) -> str:
    """The document with both tables anew.

    Raises:
        ValueError: it has no place for them.
    """
    before, _, rest = old.partition(START)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"no {START.strip()} … {END.strip()} in the document")
    compilers = [result for result in results if "TensorFlow" in result]
    runtimes = [result for result in results if "engine" in result]
    parts = (
        "Compiled on top of what was there; the relative L2 of the TFLite model and of the ONNX model:",
        table(compilers, "TensorFlow", "Python", by_version),
        "Run by one engine and numpy:",
        table(runtimes, "engine", "Python", by_version),
    )
    return before + START + "\n" + "\n\n".join(parts) + "\n\n" + END + after


def main(folder: Path, path: Path) -> None:
    results = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    path.write_text(document(path.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
