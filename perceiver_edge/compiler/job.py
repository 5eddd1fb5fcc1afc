"""A compilation before it runs: model and samples found and checked, output writable. No TensorFlow yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from perceiver_edge.bundle.folder import require_replaceable, require_writable
from perceiver_edge.bundle.pictures import UNDECLARED
from perceiver_edge.calibration import Ranges, Samples
from perceiver_edge.compiler.artefacts import Kind, planned_kinds
from perceiver_edge.compiler.labels import with_class_names
from perceiver_edge.compiler.options import LEAST_HELD_OUT, Options
from perceiver_edge.compiler.representative import choose_samples, read_ranges
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.config import ModelConfig
from perceiver_edge.config.perceiver_io import QUERIES
from perceiver_edge.errors import BadInputError, counted, option
from perceiver_edge.lowering import Decision, lower, plain_program
from perceiver_edge.lowering.core_forms import core_forms
from perceiver_edge.proof.gates import Gates, gates_by_precision
from perceiver_edge.proof.held_out import require_mask_agreement
from perceiver_edge.proof.source import Answers, read_answers


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Everything that a compilation needs, found and checked.

    ``ranges``: those the user gave. ``answers``: those of the model's own framework. ``notices``: what to know of the
    model and the samples before trusting the result.
    """

    options: Options
    model: NamedModel
    destination: Path
    kinds: tuple[Kind, ...]
    gates: Mapping[str, Gates]
    calibrating: Samples
    proving: Samples
    ranges: Ranges | None
    notices: tuple[str, ...]
    answers: Answers | None = None

    def file_names(self) -> dict[str, Kind]:
        return {kind.file_name(self.model.name): kind for kind in self.kinds}

    def lowering_decisions(self) -> tuple[Decision, ...]:
        checkpoint = self.model.checkpoint
        plain = plain_program(checkpoint.config, checkpoint.weights, self.model.input_spec.shape)
        plain = replace(plain, with_mask=self.options.with_mask)
        lowered, decisions = lower(plain, optimize_for=self.options.optimize_for)
        return decisions + core_forms(lowered)


def prepare(options: Options, *, dry_run: bool = False) -> Job:
    """Find and check everything that can be checked before the long work; for a dry run, not the output.

    Raises:
        BadInputError: anything that cannot be used as it is.
    """
    kinds = planned_kinds(precisions=options.precisions, formats=options.formats, only=options.only)
    named = resolve_model(
        options.model, config=options.config, name=options.name, input_shape=options.shape,
        image_mean=options.image_mean, image_std=options.image_std, resize=options.resize, seed=options.seed,
        outputs=options.outputs, positions=options.positions,
    )  # fmt: skip
    if named.checkpoint.config.vocabulary:  # texts are of different lengths, and what pads them is nobody's word
        options = replace(options, with_mask=True)
    if options.with_mask and (others := set(named.beside) - {QUERIES}):
        raise BadInputError(
            f"{option('with_mask')} is for models whose tokens are of one input.", expected="no mask",
            got=f"a model of the inputs input and {', '.join(others)}",
        )  # fmt: skip
    gates = gates_by_precision(
        (kind.precision for kind in kinds), options.gates, is_random_weights=named.is_random_weights
    )
    destination = Path(options.output) if options.output is not None else Path("build") / named.name
    if dry_run:
        require_replaceable(destination, overwrite=True)
    else:
        require_writable(destination, overwrite=options.overwrite)
    answers = None
    if options.reference is not None:
        answers = read_answers(
            options.reference, sample_shape=named.sample_shape, vocabulary=named.checkpoint.config.vocabulary,
            beside=named.beside,
        )  # fmt: skip
    ranges = None
    if options.calibration is not None:
        ranges = read_ranges(options.calibration, named)
    calibrating, proving = choose_samples(
        named,
        options.samples,
        num_calibration=options.num_samples,
        num_held_out=options.num_held_out,
        seed=options.seed,
        exclude=ranges.digests if ranges else (),
        labels=options.labels,
        held_out_data=options.held_out_data,
    )
    if (checkpoint := with_class_names(named.checkpoint, proving.source)) is not named.checkpoint:
        named = replace(named, checkpoint=checkpoint)
    if len(proving) < LEAST_HELD_OUT:
        raise BadInputError(
            "There are too few samples to prove with.",
            expected=f"at least {LEAST_HELD_OUT}", got=len(proving), where=proving.description,
            fix=f"pass more samples, or a smaller {option('num_samples')}, which leaves more to prove with",
        )  # fmt: skip
    for part in filter(len, (calibrating, proving)):
        require_mask_agreement(next(iter(part)), with_mask=options.with_mask, where=part.description)
        _require_labels_fit(part, named.checkpoint.config)
    fewer = _fewer(options, ranges, calibrating, proving)
    notices = dict.fromkeys((*named.notices, *calibrating.notices, *proving.notices, *fewer))
    spec = named.input_spec
    if proving.are_pictures and not spec.declares_normalisation:
        notices[UNDECLARED] = None
        named = replace(named, input_spec=replace(spec, image_mean=spec.mean, image_std=spec.std))  # as it was done
    return Job(
        options=options, model=named, destination=destination, kinds=kinds, gates=gates,
        calibrating=calibrating, proving=proving, ranges=ranges, notices=tuple(notices), answers=answers,
    )  # fmt: skip


def _fewer(options: Options, ranges: Ranges | None, calibrating: Samples, proving: Samples) -> list[str]:
    """What was asked for in vain, a sentence each. That nothing is left of an earlier calibration is a decision's."""
    asked = {
        "calibrate": (0 if ranges else options.num_samples, len(calibrating)),
        "prove": (options.num_held_out or 0, len(proving)),
    }
    told = [f"{got} instead of {wanted} to {what} with" for what, (wanted, got) in asked.items() if got < wanted]
    fewer = [f"There are fewer samples than asked for ({proving.description}): {', '.join(told)}."] if told else []
    if ranges and 0 < len(calibrating) < len(ranges.digests):
        lost = f"Of the {counted(len(ranges.digests), 'sample')} of the calibration, {len(calibrating)} were found"
        fewer.append(f"{lost} ({calibrating.description}): weights are rounded by these alone.")
    return fewer


def _require_labels_fit(part: Samples, config: ModelConfig) -> None:
    if part.labels is None:
        return
    if not config.is_classifier:
        raise BadInputError(
            "Only a classifier has an accuracy.", expected="no labels", got="labels", where=part.description
        )
    wrong = sorted({int(label) for label in part.labels if not 0 <= label < config.num_classes})
    if wrong:
        raise BadInputError(
            "The labels do not fit the model's classes.",
            expected=f"0 to {config.num_classes - 1}", got=", ".join(map(str, wrong[:5])), where=part.description,
        )  # fmt: skip
