"""What a lowering rule is: a rewrite of a `Program` into an equal one, and the account it gives of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perceiver_edge.lowering.program import Program


@dataclass(frozen=True)
class Decision:
    """What a rule did and why, for the manifest and the report."""

    rule: str
    applied: bool
    reason: str


Rule = Callable[[Program], tuple[Program, Decision]]
"""A rule returns its program unchanged, with the reason, where its precondition or its cost model says no."""
