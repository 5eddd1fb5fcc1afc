"""The bounds of every precision: `Gates`. Parity is a gate: what is out of bounds is not published."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.metrics import FLOAT_TOLERANCE

PRECISIONS = ("fp32", "fp16", "dynamic", "int8")

FP16_RELATIVE_L2 = 1e-2
"""Half precision rounds each weight by up to 2⁻¹¹ = 5e-4; twenty layers of that is below 1e-2 with room to spare."""
FP16_COSINE = 0.999
INT8_COSINE = 0.99
"""Allows an error of 14 % of the norm: several times what int8 GEMMs around float attention cost (2-4 %), and far from
a collapsed model. `dynamic` has int8 weights too and is held to the same."""
INT8_RELATIVE_L2 = 0.07
"""Nearly twice the error of the worst sound int8 model measured (0.04). The cosine alone lets one
class whose scale is wrong by half pass, at 0.073."""
LAYER_ERROR = 5e-3
"""Of one int8 layer, from its own inputs, against the model of its integers (`compiler.integer_model`). Roundings on
the edge of two steps cost at most 1.7e-3 in the int8 and dynamic files of ten models, trained and random, with up to
50,176 tokens. Of 529 faults put into the digits' files, 6 cost less than this bound."""
TOP1_AGREEMENT = 0.97
ACCURACY_LOST = 0.05
"""By an artefact against the float model, ties that chance decides aside. Sound int8 models lose under 0.02."""
ABOVE_CHANCE = 0.0
"""Of the float model's own accuracy, over what guessing reaches (`judgement.by_chance`). Labels in another order than
the model's classes, numbered from 1, say, are answered no better, and then no accuracy means anything."""
FP32_SENSITIVITY = 0.01
FP16_SENSITIVITY = 0.05
INT8_SENSITIVITY = 0.1
"""How far the sensitivity ratio may be from 1. Noise independent of the input takes it to √(1 + n²) and the centred
cosine to 1/√(1 + n²); so each precision's centred cosine bound is 1 less this, what its upper bound 1 + s implies."""

_RANGES = {
    "relative_l2": (0.0, math.inf),
    "cosine": (-1.0, 1.0),
    "top1_agreement": (0.0, 1.0),
    "sensitivity_min": (0.0, math.inf),
    "sensitivity_max": (0.0, math.inf),
    "centred_cosine": (-1.0, 1.0),
    "layer_error": (0.0, math.inf),
    "accuracy_lost": (0.0, 1.0),
    "above_chance": (-1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The bounds of one precision. `None` is no bound.

    ``top1_agreement`` only ever applies to classifiers, ``accuracy_lost`` and ``above_chance`` to those with labels,
    ``layer_error`` to artefacts whose integers there is a model of.
    """

    relative_l2: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    sensitivity_min: float | None = None
    sensitivity_max: float | None = None
    centred_cosine: float | None = None
    layer_error: float | None = None
    accuracy_lost: float | None = None
    above_chance: float | None = None

    @classmethod
    def for_precision(cls, precision: str) -> Gates:
        """The default bounds for ``fp32``, ``fp16``, ``dynamic`` or ``int8``."""
        match precision:
            case "fp32":
                return cls._around(FP32_SENSITIVITY, relative_l2=FLOAT_TOLERANCE)
            case "fp16":
                return cls._around(FP16_SENSITIVITY, relative_l2=FP16_RELATIVE_L2, cosine=FP16_COSINE)
            case "dynamic" | "int8":
                gates = cls._around(INT8_SENSITIVITY, relative_l2=INT8_RELATIVE_L2, cosine=INT8_COSINE)
                return dataclasses.replace(gates, layer_error=LAYER_ERROR)
        raise BadInputError("Unknown precision.", expected=", ".join(PRECISIONS), got=precision)

    @classmethod
    def _around(cls, sensitivity: float, *, relative_l2: float | None = None, cosine: float | None = None) -> Gates:
        return cls(
            relative_l2=relative_l2,
            cosine=cosine,
            top1_agreement=TOP1_AGREEMENT,
            sensitivity_min=1 - sensitivity,
            sensitivity_max=1 + sensitivity,
            centred_cosine=1 - sensitivity,
            accuracy_lost=ACCURACY_LOST,
            above_chance=ABOVE_CHANCE,
        )

    def with_overrides(self, overrides: Mapping[str, float]) -> Gates:
        """These bounds with some replaced, by field name.

        Raises:
            BadInputError: an unknown name, a bound that its metric can never reach, or an empty sensitivity interval.
        """
        for name, value in overrides.items():
            if name not in _RANGES:
                raise BadInputError("Unknown parity gate.", expected=", ".join(_RANGES), got=name)
            low, high = _RANGES[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value) or not low <= value <= high:
                allowed = f"a finite number of at least {low:g}" + ("" if math.isinf(high) else f", at most {high:g}")
                raise BadInputError(f"Parity gate {name!r} is out of range.", expected=allowed, got=repr(value))
        gates = dataclasses.replace(self, **overrides)
        low_, high_ = gates.sensitivity_min, gates.sensitivity_max
        if low_ is not None and high_ is not None and low_ > high_:
            raise BadInputError(
                "No sensitivity ratio can pass these gates.",
                expected="sensitivity_min of at most sensitivity_max",
                got=f"sensitivity_min {low_:g}, sensitivity_max {high_:g}",
            )
        return gates


OF_THE_REFERENCE = ("above_chance",)
"""Gates that say something of the float model: opened for one precision, they are open for all."""


def gates_by_precision(
    precisions: Iterable[str], overrides: Mapping[str, float], *, is_random_weights: bool = False
) -> dict[str, Gates]:
    """The gates of one bundle. What the user changes holds for the precision asked for, not for its float32 peer.

    ``is_random_weights``: the model has learned nothing, and is not asked to be better than chance.
    """
    gates = {precision: Gates.for_precision(precision) for precision in precisions}
    if is_random_weights:
        gates = {precision: dataclasses.replace(bounds, above_chance=None) for precision, bounds in gates.items()}
    asked_for = [precision for precision in gates if precision != "fp32"] or list(gates)
    of_all = {name: value for name, value in overrides.items() if name in OF_THE_REFERENCE}
    return {
        precision: bounds.with_overrides(overrides if precision in asked_for else of_all)
        for precision, bounds in gates.items()
    }
