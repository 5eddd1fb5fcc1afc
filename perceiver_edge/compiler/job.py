"""A compilation before it runs: options checked, model and samples found, output writable. No TensorFlow yet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.folder import require_writable
from perceiver_edge.calibration import METHODS, Ranges, Samples
from perceiver_edge.compiler.artefacts import FORMATS, QUANTIZE, Kind, planned_kinds
from perceiver_edge.compiler.representative import NUM_CALIBRATION, choose_samples, read_ranges
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.config import PerceiverConfig
from perceiver_edge.errors import BadInputError
from perceiver_edge.lowering import OPTIMIZE_FOR, Decision, lower, plain_program
from perceiver_edge.measure.latency import default_threads
from perceiver_edge.proof.gates import Gates, gates_by_precision
from perceiver_edge.proof.held_out import require_mask_agreement

if TYPE_CHECKING:
    from perceiver_edge.checkpoints import Checkpoint
    from perceiver_edge.model import Perceiver

OPSETS = range(18, 21)
"""tf2onnx 1.17 is sure of 18; ONNX's version converter takes that to 20, where Gelu becomes an operator."""

LEAST_HELD_OUT = 2
"""One sample has no spread over the input, so the sensitivity gate could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to compile; each field is explained at `perceiver_edge.compile`."""

    quantize: str = "int8"
    samples: object = None
    calibration: Ranges | str | os.PathLike[str] | None = None
    method: str | None = None
    num_samples: int = NUM_CALIBRATION
    num_held_out: int | None = None
    gates: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None
    input_shape: tuple[int, ...] | None = None
    batch: int = 1
    with_mask: bool = False
    formats: tuple[str, ...] = FORMATS
    only: bool = False
    opset: int = OPSETS.start
    optimize_for: str = "latency"
    output: str | os.PathLike[str] | None = None
    overwrite: bool = False
    threads: int | None = None
    seed: int = 0
    cache: bool = True

    def __post_init__(self) -> None:
        _require(self.quantize in QUANTIZE, "quantize", ", ".join(QUANTIZE), self.quantize)
        _require(self.method is None or self.method in METHODS, "method", ", ".join(METHODS), self.method)
        observes = self.quantize == "int8" and self.calibration is None
        _require(self.method is None or observes, "method", "no method where no ranges are observed", self.method)
        _require(bool(self.formats) and set(self.formats) <= set(FORMATS), "formats", ", ".join(FORMATS), self.formats)
        _require(self.optimize_for in OPTIMIZE_FOR, "optimize_for", ", ".join(OPTIMIZE_FOR), self.optimize_for)
        _require(
            not (self.quantize == "fp16" and self.optimize_for == "memory"), "optimize_for",
            "latency with quantize fp16, whose models are for GPUs and keep attention whole", self.optimize_for,
        )  # fmt: skip
        _require(self.opset in OPSETS, "opset", f"{OPSETS.start} to {OPSETS.stop - 1}", self.opset)
        _require(_is_count(self.seed, least=0), "seed", "an integer of at least 0", self.seed)
        if self.input_shape is not None:
            sizes_are_counts = isinstance(self.input_shape, tuple) and all(
                _is_count(size, least=1) for size in self.input_shape
            )
            _require(sizes_are_counts, "input_shape", "a tuple of sizes of at least 1", self.input_shape)
        counts = {"batch": self.batch, "num_samples": self.num_samples, "num_held_out": self.num_held_out}
        for name, value in (counts | {"threads": self.threads}).items():
            _require(value is None or _is_count(value, least=1), name, "an integer of at least 1", value)
        _require(self.num_held_out != 1, "num_held_out", f"at least {LEAST_HELD_OUT}", self.num_held_out)
        _require(not (self.only and self.quantize == "none"), "only", "a quantize other than none", "none")

    @property
    def num_threads(self) -> int:
        return self.threads or default_threads()


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Everything that a compilation needs, found and checked. ``ranges``: those the user gave."""

    options: Options
    model: NamedModel
    destination: Path
    kinds: tuple[Kind, ...]
    gates: Mapping[str, Gates]
    calibrating: Samples
    proving: Samples
    ranges: Ranges | None

    def file_names(self) -> dict[str, Kind]:
        return {kind.file_name(self.model.name): kind for kind in self.kinds}

    def lowering_decisions(self) -> tuple[Decision, ...]:
        checkpoint = self.model.checkpoint
        plain = plain_program(checkpoint.config, checkpoint.weights, self.model.input_spec.shape)
        return lower(plain, optimize_for=self.options.optimize_for)[1]


def prepare(model: str | os.PathLike[str] | Checkpoint | Perceiver, options: Options, *, dry_run: bool = False) -> Job:
    """Find and check everything that can be checked before the long work; for a dry run, not the output.

    Raises:
        BadInputError: anything that cannot be used as it is.
    """
    kinds = planned_kinds(quantize=options.quantize, formats=options.formats, only=options.only)
    gates = gates_by_precision((kind.precision for kind in kinds), options.gates)
    named = resolve_model(model, name=options.name, input_shape=options.input_shape, seed=options.seed)
    destination = Path(options.output) if options.output is not None else Path("build") / named.name
    if not dry_run:
        require_writable(destination, overwrite=options.overwrite)
    ranges = None
    if options.calibration is not None:
        _require(options.quantize == "int8", "calibration", "no calibration, or quantize int8", options.quantize)
        ranges = read_ranges(options.calibration, named)
    calibrating, proving = choose_samples(
        named,
        options.samples,
        num_calibration=options.num_samples,
        num_held_out=options.num_held_out,
        seed=options.seed,
        exclude=ranges.digests if ranges else (),
    )
    if len(proving) < LEAST_HELD_OUT:
        raise BadInputError(
            "There are too few samples to prove with.",
            expected=f"at least {LEAST_HELD_OUT}", got=len(proving), where=proving.description,
            fix="pass more samples, or a smaller --num-samples, which leaves more to prove with",
        )  # fmt: skip
    for part in filter(len, (calibrating, proving)):
        require_mask_agreement(next(iter(part)), with_mask=options.with_mask, where=part.description)
        _require_labels_fit(part, named.checkpoint.config)
    return Job(
        options=options, model=named, destination=destination, kinds=kinds, gates=gates,
        calibrating=calibrating, proving=proving, ranges=ranges,
    )  # fmt: skip


def _require_labels_fit(part: Samples, config: PerceiverConfig) -> None:
    if part.labels is None:
        return
    if not config.final_classifier_head:
        raise BadInputError(
            "Only a classifier has an accuracy.", expected="no labels", got="labels", where=part.description
        )
    wrong = sorted({int(label) for label in part.labels if not 0 <= label < config.num_classes})
    if wrong:
        raise BadInputError(
            "The labels do not fit the model's classes.",
            expected=f"0 to {config.num_classes - 1}", got=", ".join(map(str, wrong[:5])), where=part.description,
        )  # fmt: skip


def _is_count(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require(condition: bool, option: str, expected: str, got: Any) -> None:
    if not condition:
        raise BadInputError(f"The option {option!r} is not usable.", expected=expected, got=repr(got))
