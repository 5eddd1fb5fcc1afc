"""A checkpoint in its deployment form: lowered, traced, and open to observation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from perceiver_edge.calibration import Range, Ranges
from perceiver_edge.calibration.hull import HULL_SUFFIX
from perceiver_edge.calibration.samples import INPUT, MASK
from perceiver_edge.compiler.artefacts import ROUNDED_BY_INPUTS, Kind
from perceiver_edge.compiler.core_losses import EXPONENTIALS
from perceiver_edge.compiler.cores import (
    Extents,
    IntegerForm,
    bounds_of,
    cores_in,
    params_of,
    site_ranges,
)
from perceiver_edge.compiler.head import float_sites
from perceiver_edge.compiler.integer_arithmetic import rows_lost
from perceiver_edge.compiler.integer_model import IntegerModel
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.compiler.rows import (
    Rows,
    centrings_of,
    row_params_of,
    row_site_ranges,
    rows_in,
    shifts_of,
    values_of,
)
from perceiver_edge.converters.half_constants import as_stored
from perceiver_edge.converters.points import constants_in
from perceiver_edge.converters.trace import Traced, trace
from perceiver_edge.lowering import Decision, Program, lower, plain_program, row_attention
from perceiver_edge.lowering.core_forms import core_forms
from perceiver_edge.lowering.core_survey import extents, loss
from perceiver_edge.lowering.drop_maximum import with_maximum
from perceiver_edge.lowering.execute import OUTPUT_SITE, LoweredPerceiver, Tap
from perceiver_edge.lowering.integer_core import integer_blocks, num_chunks, why_none, with_integer_cores
from perceiver_edge.lowering.row_core import row_blocks, with_row_cores
from perceiver_edge.lowering.run_stack import CoreTap, RowTap
from perceiver_edge.lowering.shared_context import CoreOperands

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Deployment:
    """A lowered model, ready to be observed and converted.

    All feeds are of batch 1, by name.

    Attributes:
        traced: what float models are converted from.
        half_traced: gives what half-precision models are converted from: attention whole and with its maximum, without
            which half precision overflows, and which GPUs compute best.
        decisions: what lowering did and why.
        taps: → every quantisation point's activation by name, and hulls (`calibration.hull`).
        survey: → the same, and the extents of every core (`lowering.core_survey`).
        row_means: → the means of each self-attend's keys and values, ``[h * d + h * e]``.
        row_extents: with the means of each layer, and shifts of each use → what int8 needs to know of every self-attend
            (`lowering.row_attention`).
        row_losses: with the ranges of every self-attend → what int8 loses there (`integer_arithmetic.rows_lost`).
        losses: with a bound for each core → what int8 would lose there.
        point_names: the quantisation points of the float form.
        row_channels: of keys, and of values, of the self-attends that have an int8 form.
        core_rows: the rows of scores of every core that has an int8 form.
        why_no_core: if there is none.
        repeated: layers that are others once more, by name (`Program.repeated_layers`).
        integer_form: what an int8 model of a format is converted from.
        integer_model: what the layers of an artefact have to compute; None for float ones.
        head: the site of the last product, where the outputs are a vector.
    """

    traced: Traced
    half_traced: Callable[[], Traced]
    decisions: tuple[Decision, ...]
    taps: Callable[[Feeds], dict[str, np.ndarray]]
    survey: Callable[[Feeds], tuple[dict[str, np.ndarray], Extents]]
    row_means: Callable[[Feeds], Mapping[str, np.ndarray]]
    row_extents: Callable[[Feeds, Mapping[str, np.ndarray], Mapping[str, np.ndarray]], Extents]
    row_losses: Callable[[Rows], Callable[[Feeds], Mapping[str, np.ndarray]]]
    losses: Callable[[Feeds, Mapping[str, np.ndarray]], Extents]
    point_names: tuple[str, ...]
    row_channels: Mapping[str, tuple[int, int]]
    core_rows: Mapping[str, int]
    why_no_core: str
    repeated: Mapping[str, str]
    integer_form: Callable[[Ranges, str], IntegerForm]
    integer_model: Callable[[Ranges | None, Callable[[], Feeds], Kind, bytes], IntegerModel | None]
    head: str | None


def deploy(model: NamedModel, *, batch: int, with_mask: bool, optimize_for: str = "latency") -> Deployment:
    """Lower the model and trace it for ``batch`` samples; ``with_mask`` adds a boolean input ``mask``.

    Args:
        optimize_for: a key of `lowering.OPTIMIZE_FOR`.
    """
    config = model.checkpoint.config
    # The plain program has no name, and the float64 one none for long: of large models each takes gigabytes.
    lowered, decisions = lower(
        replace(plain_program(config, model.checkpoint.weights, model.input_spec.shape), with_mask=with_mask),
        optimize_for=optimize_for,
    )
    decisions += core_forms(lowered)
    module = LoweredPerceiver.in_single_precision(lowered)
    program = module.program
    del lowered
    inputs = {INPUT: ((batch, *model.sample_shape), tf.int32 if config.vocabulary else tf.float32)}
    inputs |= {name: ((batch, *shape), tf.float32) for name, shape in model.beside.items()}
    if with_mask:
        inputs[MASK] = ((batch, *model.input_spec.shape), tf.bool)
    output_name = config.output_name
    traced = trace(_in_order(module, inputs), inputs=inputs, output_name=output_name)
    watch = _Watch(module, inputs)

    @functools.cache
    def half_traced() -> Traced:
        whole = with_maximum(program)
        return (
            traced
            if whole is program
            else trace(_in_order(module.of(whole), inputs), inputs=inputs, output_name=output_name)
        )

    def int8_rows(ranges: Ranges, format_: str) -> Rows:
        return rows_in(ranges, format_, row_blocks(program), program.repeated_layers())

    def integer_program(ranges: Ranges, format_: str) -> Program:
        rows = int8_rows(ranges, format_)
        rewritten = with_row_cores(program, centrings_of(rows), shifts_of(rows))
        if cores := cores_in(ranges, format_):
            rewritten = with_integer_cores(rewritten, bounds_of(cores), exponential=EXPONENTIALS[format_])
        return rewritten

    def integer_points(ranges: Ranges, format_: str) -> dict[str, Range]:
        rows = int8_rows(ranges, format_)
        return ranges.points | site_ranges(cores_in(ranges, format_)) | row_site_ranges(ranges, rows)

    def integer_model(
        ranges: Ranges | None, product_inputs: Callable[[], Feeds], kind: Kind, artefact: bytes
    ) -> IntegerModel | None:
        inputs = product_inputs() if kind.precision in ROUNDED_BY_INPUTS else {}
        tables = constants_in(artefact, np.float16)
        whole = constants_in(artefact, np.float32) if tables else []
        stored = functools.partial(as_stored, tables=tables, whole=whole)
        as_in_file = LoweredPerceiver(program, stored=stored) if tables else module
        if kind.precision == "dynamic":
            return IntegerModel(as_in_file, kind.format, is_dynamic=True, inputs=inputs)
        if kind.precision != "int8" or ranges is None:
            return None
        cores, rows = cores_in(ranges, kind.format), int8_rows(ranges, kind.format)
        rewritten = as_in_file.of(integer_program(ranges, kind.format)) if cores or rows.uses else as_in_file
        return IntegerModel(
            rewritten, kind.format, is_dynamic=False, points=integer_points(ranges, kind.format),
            cores=params_of(cores, EXPONENTIALS[kind.format]), rows=row_params_of(rows), inputs=inputs,
        )  # fmt: skip

    def integer_form(ranges: Ranges, format_: str) -> IntegerForm:
        cores, rows = cores_in(ranges, format_), int8_rows(ranges, format_)
        if not cores and not rows.uses:
            names = watch.point_names
            points = {name: ranges.points[name] for name in names if name in ranges.points}
            return IntegerForm(traced, points, {}, float_sites(names, points))
        rewritten = integer_program(ranges, format_)
        tapped_names: list[str] = []
        tapped = functools.partial(module.of(rewritten), tap=lambda name, _: tapped_names.append(name))
        integer = trace(_in_order(tapped, inputs), inputs=inputs, output_name=output_name)
        known = integer_points(ranges, format_)
        names = tuple(name for name in tapped_names if not name.endswith(HULL_SUFFIX))
        points = {name: known[name] for name in names if name in known}
        return IntegerForm(
            integer, points, params_of(cores, EXPONENTIALS[format_]), float_sites(names, points), row_params_of(rows)
        )  # fmt: skip

    return Deployment(
        traced, half_traced, decisions, watch.taps, watch.survey, watch.row_means, watch.row_extents,
        watch.row_losses, watch.losses, watch.point_names, _row_channels(program),
        {} if with_mask else _core_rows(program), "there is a mask" if with_mask else why_none(program),
        program.repeated_layers(), integer_form, integer_model, OUTPUT_SITE if config.is_classifier else None,
    )  # fmt: skip


def _in_order(function: Callable[..., tf.Tensor], names: Iterable[str]) -> Callable[..., tf.Tensor]:
    """Of a function of inputs by name, and a mask, one of these in order."""

    def call(*tensors: tf.Tensor) -> tf.Tensor:
        feeds = dict(zip(names, tensors, strict=True))
        mask = feeds.pop(MASK, None)
        return function(feeds, mask)

    return call


def _row_channels(program: Program) -> dict[str, tuple[int, int]]:
    return {name: block.widths[1:] for name, block in row_blocks(program).items()}


def _core_rows(program: Program) -> dict[str, int]:
    rows = program.extents()[0].rows
    return {name: block.heads * rows for name, block in integer_blocks(program).items()}


class _Watch:
    """One lowered model, run sample by sample; traced when first asked."""

    def __init__(self, module: LoweredPerceiver, inputs: Mapping[str, tuple[tuple[int, ...], tf.DType]]) -> None:
        self._module = module
        self._single = {name: tf.TensorSpec((1, *shape[1:]), dtype) for name, (shape, dtype) in inputs.items()}
        self._chunks = num_chunks(module.program)
        # TensorFlow sorts the keys of a dictionary that a function returns; the order of execution reads better.
        self._order: list[str] = []

    @property
    def point_names(self) -> tuple[str, ...]:
        _ = self._points  # a trace notes their order
        return tuple(name for name in self._order if not name.endswith(HULL_SUFFIX))

    def taps(self, feeds: Feeds) -> dict[str, np.ndarray]:
        return self._ordered(self._points(_tensors(feeds)))

    def survey(self, feeds: Feeds) -> tuple[dict[str, np.ndarray], Extents]:
        points, found = self._survey(_tensors(feeds))
        return self._ordered(points), _arrays(found)

    def row_means(self, feeds: Feeds) -> dict[str, np.ndarray]:
        if not row_blocks(self._module.program):
            return {}
        return {name: mean.numpy() for name, mean in self._row_means(_tensors(feeds)).items()}

    def row_extents(self, feeds: Feeds, means: Mapping[str, np.ndarray], shifts: Mapping[str, np.ndarray]) -> Extents:
        return _arrays(self._row_extents(*map(_tensors, (feeds, means, shifts))))

    def row_losses(self, rows: Rows) -> Callable[[Feeds], dict[str, np.ndarray]]:
        centrings, params = centrings_of(rows), row_params_of(rows)
        shifts = shifts_of(rows)

        def losses(feeds: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            found: dict[str, tf.Tensor] = {}

            def row_tap(name: str, operands: row_attention.RowOperands) -> None:
                if name in params:
                    value = values_of(rows.layers[name])
                    found[name] = rows_lost(operands, centrings[name], shifts[name], value, params[name])

            self._run(feeds, row_tap=row_tap)
            return found

        function = self._concrete(losses)
        return lambda feeds: {name: error.numpy() for name, error in function(_tensors(feeds)).items()}

    def losses(self, feeds: Feeds, bounds: Mapping[str, np.ndarray]) -> Extents:
        return _arrays(self._losses(_tensors(feeds), _tensors(bounds)))

    @functools.cached_property
    def _points(self) -> tf.types.experimental.ConcreteFunction:
        def points(feeds: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return self._run(feeds)

        return self._concrete(points)

    @functools.cached_property
    def _survey(self) -> tf.types.experimental.ConcreteFunction:
        def survey(feeds: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], dict[str, dict[str, tf.Tensor]]]:
            found: dict[str, dict[str, tf.Tensor]] = {}
            return self._run(feeds, core_tap=lambda name, operands: found.update({name: extents(operands)})), found

        return self._concrete(survey)

    @functools.cached_property
    def _losses(self) -> Callable[..., dict[str, dict[str, tf.Tensor]]]:
        @tf.function(autograph=False)
        def losses(feeds: dict[str, tf.Tensor], bounds: dict[str, tf.Tensor]) -> dict[str, dict[str, tf.Tensor]]:
            found: dict[str, dict[str, tf.Tensor]] = {}

            def core_tap(name: str, operands: CoreOperands) -> None:
                found[name] = loss(operands, bounds[name], chunks=self._chunks)

            self._run(feeds, core_tap=core_tap)
            return found

        return losses

    @functools.cached_property
    def _row_means(self) -> tf.types.experimental.ConcreteFunction:
        names = row_blocks(self._module.program)

        def row_means(feeds: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            found: dict[str, tf.Tensor] = {}

            def row_tap(name: str, operands: row_attention.RowOperands) -> None:
                if name in names:
                    found[name] = row_attention.means(operands)

            self._run(feeds, row_tap=row_tap)
            return found

        return self._concrete(row_means)

    @functools.cached_property
    def _row_extents(self) -> Callable[..., dict[str, dict[str, tf.Tensor]]]:
        @tf.function(autograph=False)
        def row_extents(
            feeds: dict[str, tf.Tensor], means: dict[str, tf.Tensor], shifts: dict[str, tf.Tensor]
        ) -> dict[str, dict[str, tf.Tensor]]:
            found: dict[str, dict[str, tf.Tensor]] = {}

            def row_tap(name: str, operands: row_attention.RowOperands) -> None:
                if name in means:
                    dtype = operands.value.dtype
                    centre = (tf.cast(given[name], dtype) for given in (means, shifts))
                    found[name] = row_attention.extents(operands, *centre)

            self._run(feeds, row_tap=row_tap)
            return found

        return row_extents

    def _run(
        self, feeds: dict[str, tf.Tensor], *, core_tap: CoreTap | None = None, row_tap: RowTap | None = None
    ) -> dict[str, tf.Tensor]:
        points: dict[str, tf.Tensor] = {}
        tap: Tap = points.__setitem__
        data = {name: tensor for name, tensor in feeds.items() if name != MASK}
        self._module(data, feeds.get(MASK), tap=tap, core_tap=core_tap, row_tap=row_tap)
        self._order[:] = points
        return points

    def _concrete(self, function: Callable[..., object]) -> tf.types.experimental.ConcreteFunction:
        return tf.function(function, autograph=False, input_signature=[self._single]).get_concrete_function()

    def _ordered(self, points: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
        return {name: np.asarray(memoryview(points[name])) for name in self._order}  # numpy() would copy


def _tensors(arrays: Feeds) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in arrays.items()}


def _arrays(found: Mapping[str, Mapping[str, tf.Tensor]]) -> Extents:
    return {core: {name: tensor.numpy() for name, tensor in values.items()} for core, values in found.items()}
