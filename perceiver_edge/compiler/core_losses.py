"""What int8 loses in the core of a cross-attend: how much is accepted, and the account of which cores it serves.

Each format has its own form of exp (`lowering.integer_core`), and is judged by the loss of that form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from perceiver_edge.lowering import Decision
from perceiver_edge.lowering.program import Exponential

TOLERANCE = 0.03
"""Relative L2 of what is attended to, by which int8 may miss it. Diffuse attention over many tokens loses 0.005 to
0.025, little more than rounding the tokens alone; attention that is sharp, or sharp for some inputs only, loses over
0.1: all its small weights round to zero."""

EXPONENTIALS: dict[str, Exponential] = {"tflite": "elu", "onnx": "sigmoid"}
"""The function that the engines of a format have in int8."""

Losses = Mapping[str, Mapping[str, float]]
"""By core, by `Exponential`."""


def serves(losses: Mapping[str, float], format_: str) -> bool:
    """Whether a core with these losses runs in int8 in this format."""
    return losses[EXPONENTIALS[format_]] <= TOLERANCE


def decisions(losses: Losses) -> tuple[Decision, ...]:
    """How many cores run in int8 and why, each format by itself where they differ; then of each core its form."""
    served: list[float] = []
    others: list[float] = []
    for format_, exponential in EXPONENTIALS.items():
        for of_core in losses.values():
            (served if serves(of_core, format_) else others).append(of_core[exponential])
    reason = _counted(losses, f" of {len(losses)}")
    for words, outcome, found in (
        ("loses", "", served), ("would lose", ", so these cores stay in float", others),
    ):  # fmt: skip
        if found:
            reason += f"; int8 {words} {min(found):.2g} to {max(found):.2g} of what is attended to{outcome}"
    whole = Decision("integer_core", bool(served), f"{reason} (at most {TOLERANCE:g} is accepted)")
    return whole, *_of_each(losses)


def given_decisions(losses: Losses, cores: Iterable[str]) -> tuple[Decision, ...]:
    """The same where a calibration file says it; ``cores`` are all that have an int8 form."""
    is_any = any(serves(of_core, format_) for of_core in losses.values() for format_ in EXPONENTIALS)
    absent = tuple(
        Decision("int8_core", False, f"{core}: float, because the calibration file has no ranges for it")
        for core in cores
        if core not in losses
    )
    whole = Decision("integer_core", is_any, f"{_counted(losses)}, as the calibration file says")
    return whole, *_of_each(losses), *absent


def _of_each(losses: Losses) -> tuple[Decision, ...]:
    return tuple(
        Decision("int8_core", any(serves(of_core, format_) for format_ in EXPONENTIALS), f"{core}: {_form(of_core)}")
        for core, of_core in losses.items()
    )


def _form(losses: Mapping[str, float]) -> str:
    told = []
    for is_int8, words in ((True, "int8 in {}, which loses {}"), (False, "float in {}, because int8 would lose {}")):
        formats = [format_ for format_ in EXPONENTIALS if serves(losses, format_) == is_int8]
        if formats:
            lost = " and ".join(f"{losses[EXPONENTIALS[format_]]:.2g}" for format_ in formats)
            told.append(words.format(" and ".join(formats), lost))
    return f"{'; '.join(told)} of what it attends to ({TOLERANCE:g} is accepted)"


def _counted(losses: Losses, of_all: str = "") -> str:
    counts = {
        format_: sum(serves(of_core, format_) for of_core in losses.values()) for format_ in EXPONENTIALS
    }  # fmt: skip
    if len({*counts.values()}) == 1:
        return f"{next(iter(counts.values()))}{of_all} cross-attends"
    each = [f"{count}{of_all} in {format_}" for format_, count in counts.items()]
    return f"cross-attends: {' and '.join(each)}"
