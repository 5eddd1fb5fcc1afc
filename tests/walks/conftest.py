"""What the walks share. A walk does what a document says, from a fresh folder, with nothing but the document."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def blocks(page, language):
    """The code of a page's blocks, in order."""
    text = (REPOSITORY / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory):
    """``build/digits`` of the README's first command."""
    folder = tmp_path_factory.mktemp("compiled")
    subprocess.run(
        [sys.executable, "-m", "perceiver_edge.convert", "--quantize", "int8", "--quiet"], cwd=folder, check=True,
        capture_output=True,
    )  # fmt: skip
    return folder / "build" / "digits"


@pytest.fixture(scope="session")
def page_blocks():
    return blocks
