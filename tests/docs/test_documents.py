"""The documents hang together; the site's build checks the rest (`.ci/run`)."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def test_the_notebook_is_the_tutorial():
    """`python docs/make_notebook.py` makes it."""
    make = runpy.run_path(str(DOCS / "make_notebook.py"))["notebook"]
    assert (DOCS / "tutorial.ipynb").read_text("utf-8") == make((DOCS / "tutorial.md").read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    """A path that begins with a folder of the repository; its globs match something."""
    text = page.read_text("utf-8").partition("\n## [0.")[0]  # of released versions the files may be gone
    named = re.findall(r"`((?:perceiver_edge|converters|calibration|runtime|tests|benchmarks|docs)/[\w./*-]+)`", text)
    assert [name for name in sorted(set(named)) if not list(ROOT.glob(name.rstrip("/")))] == []


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^[\w-]+$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE))
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


def test_config_json_is_documented_key_by_key():
    from perceiver_edge.config import CONFIG_KEYS

    page = (DOCS / "config.md").read_text("utf-8")
    assert [key for key in sorted(CONFIG_KEYS) if f"`{key}`" not in page] == []
