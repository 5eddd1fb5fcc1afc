"""Which artefacts a command makes, and making them, format by format."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from perceiver_edge.cache import NO_CACHE, Cache
from perceiver_edge.errors import ConversionError
from perceiver_edge.lowering import Decision
from perceiver_edge.memory import give_back_memory
from perceiver_edge.proof.gates import PRECISIONS
from perceiver_edge.runtime._quiet import without_tensorflow_notices

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from perceiver_edge.compiler.cores import IntegerForm
    from perceiver_edge.converters.core_params import CoreParams, RowParams
    from perceiver_edge.converters.trace import Traced

M = TypeVar("M")

FORMATS = ("tflite", "onnx")
QUANTIZE = ("none", *(precision for precision in PRECISIONS if precision != "fp32"))
"""What ``--quantize`` takes; ``none`` makes the float32 models only."""


@dataclass(frozen=True)
class Kind:
    """``format``: tflite or onnx; ``precision``: fp32, fp16, dynamic or int8."""

    format: str
    precision: str

    def file_name(self, model_name: str) -> str:
        return f"{model_name}_{self.precision}.{self.format}"


ROUNDED_BY_INPUTS = ("int8", "dynamic")
"""Precisions whose weights are rounded by what their products are fed."""


def planned_kinds(*, precisions: tuple[str, ...], formats: tuple[str, ...], only: bool) -> tuple[Kind, ...]:
    """The artefacts to publish: the float32 peer of the quantised models is one of them unless ``only``.

    int8 comes last: it is made from a trace of its own, and one float model at a time is held (`build`).
    """
    made = {*precisions} if only else {"fp32", *precisions}
    return tuple(Kind(format_, precision) for format_ in formats for precision in PRECISIONS if precision in made)


def rounding_decision(kinds: Collection[Kind], num_samples: int) -> tuple[Decision, ...]:
    """How weights are rounded, where there are quantised models."""
    if not {kind.precision for kind in kinds} & {*ROUNDED_BY_INPUTS}:
        return ()
    reason = (
        "weights are rounded so that each makes good what those before it lost on calibration's samples"
        if num_samples
        else "each weight is rounded on its own: the ranges were given, and their samples are not among the data"
    )
    return (Decision("compensate_rounding", num_samples > 0, reason),)


def build(
    traced: Traced,
    kinds: tuple[Kind, ...],
    *,
    half_traced: Callable[[], Traced],
    integer_form: Callable[[str], IntegerForm] | None,
    product_inputs: Callable[[], Mapping[str, np.ndarray]],
    opset: int,
    cache: Cache = NO_CACHE,
    trace_key: object = None,
    integer_key: object = None,
    samples_key: object = None,
) -> dict[Kind, bytes]:
    """Convert and quantise.

    Args:
        traced: what float models are made from.
        half_traced: gives what half-precision models are made from.
        integer_form: from a format to what its int8 model is made from; needed for int8.
        product_inputs: gives what products are fed, ``[rows, in]`` by site: weights are rounded by it; nothing where no
            samples calibrate.
        cache: of this model's results: its basis tells models apart.
        trace_key, integer_key: JSON-ready; what the trace, and the integer form, depend on besides.
        samples_key: JSON-ready; what ``product_inputs`` depends on.

    Raises:
        ConversionError: a model cannot be expressed in the format, or sites and ranges do not match.
    """
    inputs = [(name, list(shape)) for name, shape in traced.input_shapes.items()]
    artefacts: dict[Kind, bytes] = {}
    for format_ in dict.fromkeys(kind.format for kind in kinds):
        form = functools.partial(integer_form, format_) if integer_form else None
        make = (
            _maker(lambda: _tflite(product_inputs), traced, half_traced, form)
            if format_ == "tflite"
            else _maker(lambda: _onnx(opset, product_inputs), traced, half_traced, form)
        )  # fmt: skip
        for kind in (kind for kind in kinds if kind.format == format_):
            used = [integer_key if kind.precision == "int8" else None]
            used += [samples_key if kind.precision in ROUNDED_BY_INPUTS else None]
            parts = ["artefact", inputs, trace_key, kind.format, kind.precision, opset, *used]
            give_back_memory()
            artefacts[kind] = cache.cached(parts, functools.partial(make, kind.precision))
    return artefacts


@dataclass(frozen=True)
class _Converters(Generic[M]):
    """What one format has for each step; ``M`` is what its float and quantised models are in memory."""

    float32: Callable[[Traced], M]
    fp16: Callable[[M], M]
    dynamic: Callable[[M], M]
    int8: Callable[[M, Mapping[str, tuple[float, float]], tuple[str, ...]], M]
    with_int8_cores: Callable[[M, Mapping[str, CoreParams]], M]
    with_int8_rows: Callable[[M, Mapping[str, RowParams]], M]
    with_half_constants: Callable[[M], M]
    to_bytes: Callable[[M], bytes]


def _tflite(inputs: Callable[[], Mapping[str, np.ndarray]]) -> _Converters[bytes]:
    from perceiver_edge.converters.tflite.convert import to_tflite
    from perceiver_edge.converters.tflite.core import with_int8_cores
    from perceiver_edge.converters.tflite.half_constants import with_half_constants
    from perceiver_edge.converters.tflite.quantize import tflite_dynamic, tflite_fp16, tflite_int8
    from perceiver_edge.converters.tflite.row_core import with_int8_rows

    return _Converters(
        to_tflite, tflite_fp16, lambda model: tflite_dynamic(model, inputs()),
        lambda model, limits, float_sites: tflite_int8(model, limits, float_sites, inputs()), with_int8_cores,
        with_int8_rows, with_half_constants,
        to_bytes=bytes,
    )  # fmt: skip


def _onnx(opset: int, inputs: Callable[[], Mapping[str, np.ndarray]]) -> _Converters[ModelProto]:
    from perceiver_edge.converters.onnx.convert import to_onnx
    from perceiver_edge.converters.onnx.core import with_int8_cores
    from perceiver_edge.converters.onnx.half_constants import with_half_constants
    from perceiver_edge.converters.onnx.quantize import onnx_dynamic, onnx_fp16, onnx_int8

    return _Converters(
        functools.partial(to_onnx, opset=opset), onnx_fp16, lambda model: onnx_dynamic(model, inputs()),
        lambda model, limits, float_sites: onnx_int8(model, limits, float_sites, inputs()), with_int8_cores,
        _no_rows, with_half_constants,
        to_bytes=lambda model: model.SerializeToString(),
    )  # fmt: skip


def _no_rows(model: M, rows: Mapping[str, RowParams]) -> M:
    raise ConversionError(f"ONNX has no int8 form of attention among rows: {', '.join(rows)}.")


def _maker(
    load: Callable[[], _Converters[M]],
    traced: Traced,
    half_traced: Callable[[], Traced],
    integer_form: Callable[[], IntegerForm] | None,
) -> Callable[[str], bytes]:
    """What makes the model of a precision; those of one trace come from one float model, made when the first needs it.

    Args:
        load: imports the converters, which takes seconds: only when there is something to convert.
    """

    @functools.lru_cache(maxsize=1)
    def kept(source: Traced) -> M:
        return load().float32(source)

    last: list[Traced] = []

    def converted(source: Traced) -> M:
        if last != [source]:  # drop a float model before the next one is made: two take hundreds of megabytes
            kept.cache_clear()
            give_back_memory()
            last[:] = [source]
        return kept(source)

    def int8() -> M:
        assert integer_form is not None
        form = integer_form()
        model = load().int8(converted(form.traced), limits(form), form.float_sites)
        if form.rows:
            model = load().with_int8_rows(model, form.rows)
        if form.cores:
            # With float32 tables: an int8 core rounds the tokens, and half precision moves some over a step.
            return load().with_int8_cores(model, form.cores)
        return load().with_half_constants(model)

    makers: dict[str, Callable[[], M]] = {
        "fp32": lambda: converted(traced),
        "fp16": lambda: load().fp16(converted(half_traced())),
        "dynamic": lambda: load().with_half_constants(load().dynamic(converted(traced))),
        "int8": int8,
    }

    def make(precision: str) -> bytes:
        with without_tensorflow_notices():
            return load().to_bytes(makers[precision]())

    return make


def limits(form: IntegerForm) -> dict[str, tuple[float, float]]:
    """(min, max) by quantisation point, as the converters take them."""
    return {name: (value.min, value.max) for name, value in form.points.items()}
