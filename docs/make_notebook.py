"""Make ``tutorial.ipynb`` from ``tutorial.md``: ``python docs/make_notebook.py``. Code blocks become cells."""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def notebook(markdown: str) -> str:
    """The notebook, as JSON; the same text always gives the same bytes."""
    cells: list[dict[str, Any]] = []
    at = 0
    for block in _BLOCK.finditer(markdown):
        _add_text(cells, markdown[at : block.start()])
        language, code = block.groups()
        lines = [f"!{line}" for line in code.splitlines()] if language == "sh" else code.splitlines()
        cells.append({"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines})
        at = block.end()
    _add_text(cells, markdown[at:])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
        cell["source"] = "\n".join(cell["source"]).splitlines(keepends=True)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    document = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _add_text(cells: list[dict[str, Any]], text: str) -> None:
    if text.strip():
        cells.append({"cell_type": "markdown", "metadata": {}, "source": text.strip().splitlines()})


if __name__ == "__main__":
    (HERE / "tutorial.ipynb").write_text(notebook((HERE / "tutorial.md").read_text("utf-8")), "utf-8")
