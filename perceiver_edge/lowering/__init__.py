"""Exact rewrites of a Perceiver into its deployment form (docs/lowering.md has the algebra)."""

from perceiver_edge.lowering.lower import OPTIMIZE_FOR, RULES, lower
from perceiver_edge.lowering.plain import plain_program
from perceiver_edge.lowering.program import Program
from perceiver_edge.lowering.rule import Decision, Rule

__all__ = ["OPTIMIZE_FOR", "RULES", "Decision", "Program", "Rule", "lower", "plain_program"]
