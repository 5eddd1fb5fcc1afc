"""The result of calibration: `Ranges`, as text that a person can read, diff and edit, and its strict parser."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perceiver_edge.calibration.core_range import CoreRange
from perceiver_edge.calibration.layer_record import plain
from perceiver_edge.calibration.quant_params import MOST_MAGNITUDE, Range
from perceiver_edge.calibration.repeated import first_use
from perceiver_edge.calibration.row_range import RowLayer, RowRange
from perceiver_edge.calibration.samples import DIGEST_BYTES
from perceiver_edge.errors import BadInputError, option

FORMAT = "perceiver_edge calibration 5"

_TYPE_OF_KEY: dict[str, type] = {
    "format": str,
    "fingerprint": str,
    "source": str,
    "is_random": bool,
    "method": str,
    "num_samples": int,
    "points": dict,
    "cores": dict,
    "row_layers": dict,
    "rows": dict,
    "digests": list,
}
_TYPE_NAMES = {str: "a text", bool: "true or false", int: "a whole number", dict: "an object", list: "a list"}


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What calibration found, and of what.

    Args:
        points: the range of each quantisation point, by name.
        cores: of the cross-attends whose core is to run in int8, by name; the others keep their float softmax.
        row_layers: of the self-attends some of whose uses run in int8, by the name of their first use.
        rows: of the uses of self-attends whose products are to run in int8, by name.
        method: how the ranges were chosen: ``minmax``, ``percentile`` or ``mse``.
        num_samples: how many samples were observed.
        source: where they came from, in words.
        is_random: true if they were random numbers rather than data.
        digests: `samples.sample_digest` of each, 16 bytes, so that none of them is ever used as a proof.
        fingerprint: of the model that was observed: SHA-256 of its configuration, input shape and weights.
    """

    points: dict[str, Range]
    cores: dict[str, CoreRange]
    method: str
    num_samples: int
    source: str
    is_random: bool
    digests: frozenset[bytes]
    fingerprint: str
    row_layers: dict[str, RowLayer] = field(default_factory=dict)
    rows: dict[str, RowRange] = field(default_factory=dict)

    def to_json(self) -> str:
        """Human-readable text, one point or core a line and the digests, in hexadecimal, on the last.

        Python writes a float with as many digits as it takes to read the same float back.
        """
        header = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "is_random": self.is_random,
            "method": self.method,
            "num_samples": self.num_samples,
        }
        sections = {
            "points": {name: _json([point.min, point.max]) for name, point in self.points.items()},
            "cores": {name: core.to_json() for name, core in self.cores.items()},
            "row_layers": {name: layer.to_json() for name, layer in self.row_layers.items()},
            "rows": {name: row.to_json() for name, row in self.rows.items()},
        }
        lines = [f"  {_json(key)}: {_json(value)}," for key, value in header.items()]
        for key, section in sections.items():
            named = (f"    {_json(name)}: {line}" for name, line in section.items())
            lines += [f"  {_json(key)}: {{", ",\n".join(named), "  },"]
        digests = f'  "digests": {_json(sorted(digest.hex() for digest in self.digests))}'
        return "\n".join(["{", *lines, digests, "}", ""])

    @staticmethod
    def from_json(text: str, *, where: object = None) -> Ranges:
        """The inverse of `to_json`; ``where`` names the file in errors.

        Raises:
            BadInputError: not JSON, of another format, a key is missing, unknown, written twice or of the wrong type, a
                range or digest is unusable.
        """
        try:
            values = json.loads(text, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            raise BadInputError(
                "The calibration file is not readable.", expected="JSON", got=error, where=where
            ) from error
        if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
            raise BadInputError(
                "The calibration file is of another version.",
                expected=FORMAT,
                got=repr(values["format"]),
                where=where,
                fix=f"calibrate again: leave out {option('calibration')}, and the file is made anew",
            )
        if not isinstance(values, dict) or set(values) != set(_TYPE_OF_KEY):
            raise BadInputError(
                "The calibration file does not have the keys it should have.",
                expected=", ".join(_TYPE_OF_KEY),
                got=", ".join(values) if isinstance(values, dict) else type(values).__name__,
                where=where,
            )
        for key, expected in _TYPE_OF_KEY.items():
            if type(values[key]) is not expected:
                raise BadInputError(
                    f"{key!r} in the calibration file is of the wrong type.",
                    expected=_TYPE_NAMES[expected],
                    got=repr(values[key]),
                    where=where,
                )
        del values["format"]
        values["points"] = {name: _parse_range(name, pair, where) for name, pair in values["points"].items()}
        values["cores"] = {
            name: CoreRange.from_values(name, core, where=where) for name, core in values["cores"].items()
        }
        values["row_layers"] = {
            name: RowLayer.from_values(name, layer, where=where) for name, layer in values["row_layers"].items()
        }
        values["rows"] = {name: RowRange.from_values(name, row, where=where) for name, row in values["rows"].items()}
        values["digests"] = frozenset(_parse_digest(digest, where) for digest in values["digests"])
        return Ranges(**values)

    def require_model(self, fingerprint: str) -> None:
        """Raises BadInputError if these ranges were observed on another model."""
        if fingerprint != self.fingerprint:
            raise BadInputError(
                "The calibration was made for another model.",
                expected=f"fingerprint {fingerprint}",
                got=f"fingerprint {self.fingerprint}",
                fix="Calibrate again, or pass the model that this calibration was made for.",
            )

    def require_points(self, point_names: Iterable[str], *, optional: Iterable[str] = ()) -> None:
        """Raises BadInputError unless these are the ranges of just the quantisation points ``point_names``.

        Those of ``optional`` may be missing, all of them.
        """
        names, may_lack = set(point_names), set(optional)
        if may_lack and not may_lack & self.points.keys():
            names -= may_lack
        if missing := sorted(names - self.points.keys()):
            raise BadInputError(
                "The calibration lacks quantisation points.",
                expected=f"{len(names)} points",
                got=f"no {', '.join(missing)}",
                fix="Calibrate again.",
            )
        if unknown := sorted(self.points.keys() - names):
            raise BadInputError(
                "The calibration has quantisation points that the model does not have.",
                expected=f"{len(names)} points",
                got=f"also {', '.join(unknown)}",
                fix="Remove these lines, or calibrate again.",
            )

    def require_cores(self, rows: Mapping[str, int]) -> None:
        """Raises BadInputError unless every core is one of ``rows``, which says how many rows of scores it has."""
        bounds = {name: len(core.bound) for name, core in self.cores.items()}
        _require_layers("core", "bounds", bounds, rows, none="none (there is a mask)")

    def require_rows(self, channels: Mapping[str, tuple[int, int]], repeated: Mapping[str, str]) -> None:
        """Raises BadInputError unless every self-attend of ``row_layers`` and ``rows`` is one of the model's.

        Args:
            channels: of every use of a self-attend that can run in int8, those of keys, and of values.
            repeated: layers that are others once more (`repeated.first_use`).
        """
        means = {name: len(layer.means) for name, layer in self.row_layers.items()}
        own = {name: sum(counts) for name, counts in channels.items() if first_use(name, repeated) == name}
        _require_layers("layer of self-attends", "means", means, own, none="none")
        uses = {name: of_values for name, (_, of_values) in channels.items() if first_use(name, repeated) in means}
        shifts = {name: len(row.shift) or uses.get(name, 0) for name, row in self.rows.items()}
        _require_layers("self-attend", "numbers in shift", shifts, uses, none="a layer under row_layers")


def _require_layers(
    what: str, counted: str, given: Mapping[str, int], expected: Mapping[str, int], *, none: str
) -> None:
    for name, count in given.items():
        if expected.get(name) != count:
            raise BadInputError(
                f"The calibration has a {what} that this model cannot run in int8.",
                expected=f"{expected[name]} {counted}" if name in expected else ", ".join(expected) or none,
                got=f"{count} {counted}" if name in expected else name,
                fix="Remove this line, or calibrate again.",
            )


def _parse_range(name: str, pair: Any, where: object) -> Range:
    try:
        low, high = pair
        if not all(type(limit) in (int, float) for limit in pair):
            raise TypeError
        return Range(float(low), float(high))
    except (TypeError, ValueError, OverflowError, BadInputError) as error:
        raise BadInputError(
            f"The range of {name!r} in the calibration file is not usable.",
            expected=f"[min, max], numbers from -{MOST_MAGNITUDE:g} to {MOST_MAGNITUDE:g}, min <= max",
            got=pair,
            where=where,
        ) from error


def _parse_digest(text: Any, where: object) -> bytes:
    try:
        digest = bytes.fromhex(text)
        if len(digest) != DIGEST_BYTES:
            raise ValueError
    except (TypeError, ValueError) as error:
        raise BadInputError(
            "A digest in the calibration file is not usable.",
            expected=f"{2 * DIGEST_BYTES} hexadecimal digits",
            got=repr(text),
            where=where,
        ) from error
    return digest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"{key!r} is written twice")
        values[key] = value
    return values


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=plain)
