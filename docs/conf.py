"""The site: ``sphinx-build -W -b html docs build/site``. The pages are Markdown and readable as they are."""

import re

from perceiver_edge import __version__

project = "perceiver_edge"
version = release = __version__
html_title = f"perceiver_edge {release}"
copyright = "the authors of perceiver_edge, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"

myst_enable_extensions = ["attrs_inline"]
myst_heading_anchors = 3

default_role = "literal"  # `name` in a docstring is code, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"show-inheritance": True}
napoleon_numpy_docstring = False
suppress_warnings = ["misc.highlighting_failure"]  # mermaid: code hosts draw it, the site shows its text


def _escape_stars(*event):  # type: ignore[no-untyped-def]
    """``[n, *axes, channels]`` in a docstring is a shape; in reStructuredText it would begin an emphasis."""
    lines = event[-1]
    lines[:] = [re.sub(r"(?<![*\w])\*(?=\w)", r"\\*", line) for line in lines]


def setup(app):  # type: ignore[no-untyped-def]
    app.connect("autodoc-process-docstring", _escape_stars)
