"""The version, once: of the distribution (``pyproject.toml``), of ``perceiver_edge``, and of ``--version``."""

__version__ = "0.1.0"
