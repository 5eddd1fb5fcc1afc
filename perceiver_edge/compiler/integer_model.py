"""What an int8 or a dynamic artefact has to compute, layer by layer: our own model of its integers, with TensorFlow.

Two right executions of one int8 model do not stay together: a last bit of a float decides a rounding, a step of int8
decides some more in the next layer, and after six layers the answers of both are as far apart as each is from the float
model's (README model: 0.015 and 0.013). So no tight bound holds from end to end. It holds for one layer: asked for what
it makes of what the artefact itself computed before, our model misses it by a few roundings on the edge of two steps.

Layers are asked in turn. After each, what the artefact gave takes the place of what was expected ("teacher forcing",
Williams and Zipser 1989). A layer is a product with weights and all that lies between it and the products before it.

Weights come from the float model and are rounded here, by the scheme of the format (Jacob et al. 2018,
arXiv:1712.05877): nothing is read from the artefact, but for which tables it stores in half precision: the module that
is given rounds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from perceiver_edge.calibration import Range
from perceiver_edge.calibration.samples import INPUT, MASK
from perceiver_edge.compiler.cores import affine
from perceiver_edge.compiler.integer_arithmetic import HIGHEST, LOWEST, attend, attend_rows, rounded, steps
from perceiver_edge.converters.core_params import CoreParams, RowParams
from perceiver_edge.converters.onnx.unsaturated import LARGEST_PAIR, largest_magnitudes
from perceiver_edge.converters.rounding import MOST, inputs_of
from perceiver_edge.converters.rounding import rounded as rounded_by_inputs
from perceiver_edge.converters.sites import FINEST_SUM
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.integer_attention import Chunks
from perceiver_edge.lowering.program import IntegerCore, Linear
from perceiver_edge.proof.layers import OUTPUT, Layers

_MOST_SCORES = 1 << 22
"""Of attention at a time, in float32: 16 MB."""


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """
    Args:
        module: the lowered model that the artefact was made from.
        format: ``tflite`` or ``onnx``: how weights are scaled, and what one range of dynamic activations spans.
        points: the ranges of static int8; empty for ``dynamic``. A product without a range is computed in float.
        cores: how integer cores are quantised, by cross-attend.
        rows: how attention among rows is quantised, by self-attend.
        inputs: what products are fed, ``[rows, in]`` by site, where weights are rounded by it
            (`converters.rounding`).
    """

    module: LoweredPerceiver
    format: str
    is_dynamic: bool
    points: Mapping[str, Range] = field(default_factory=dict)
    cores: Mapping[str, CoreParams] = field(default_factory=dict)
    rows: Mapping[str, RowParams] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    _sites: dict[int, dict[str, None]] = field(default_factory=dict)
    _kept: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __call__(self, feeds: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], calls: int) -> Layers:
        """What each layer should give, and what it gave.

        Args:
            feeds: ``[batch, ...]`` by name.
            given: what the artefact's products gave, by ``<site>.output``, and its `OUTPUT`, of any shape, the batch
                first. A site that is missing is computed.
            calls: how many runs of the artefact the batch comes from.
        """
        size = max(1, _MOST_SCORES // self._scores(len(feeds[INPUT]) // calls))  # runs at a time
        parts = [
            self._piece(_taken(feeds, start, size, calls), _taken(given, start, size, calls), min(size, calls - start))
            for start in range(0, calls, size)
        ]
        return {
            name: (np.concatenate([part[name][0] for part in parts]), np.concatenate([part[name][1] for part in parts]))
            for name in parts[0]
        }

    def _piece(self, feeds: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray], calls: int) -> Layers:
        if self.inputs and not self._sites:
            self._run(feeds, _Sites(self, given, calls))
        run = _Run(self, given, calls)
        output = self._run(feeds, run)
        return run.found | {OUTPUT: (output, given[OUTPUT].reshape(output.shape))}

    def _run(self, feeds: Mapping[str, np.ndarray], run: _Run) -> np.ndarray:
        data = {name: tf.constant(values) for name, values in feeds.items() if name != MASK}
        output: np.ndarray = self.module(data, feeds.get(MASK), arithmetic=run).numpy()
        return output

    def _scores(self, batch: int) -> int:
        """Of the largest attention of a run, all heads together."""
        extents = zip(self.module.program.stacks, self.module.program.extents(), strict=True)
        return batch * max(
            extent.rows * extent.tokens * max((block.heads for block in stack.cross_attentions()), default=1)
            for stack, extent in extents
        )

    def weights(self, linear: Linear) -> tuple[np.ndarray, np.ndarray]:
        """In whole numbers, int8 ``[in, out]``, and their scales ``[out]``, 0 where there are none."""
        array = id(linear.weight)  # which the program keeps; linears with biases of their own may share it
        if array not in self._kept:
            is_plain = self.format == "tflite"
            largest = np.abs(linear.weight).max(axis=0) if is_plain else largest_magnitudes(linear.weight)
            divisors = np.where(largest > 0, largest, 1) / HIGHEST
            if (rows := inputs_of(self._sites.get(array, ()), self.inputs)) is not None:
                # As the converter computes it, to the last bit: one step decides the next.
                largest_pair = 2 * MOST if is_plain else LARGEST_PAIR
                whole = rounded_by_inputs(linear.weight, divisors, rows, largest_pair=largest_pair)
            else:
                whole = np.rint(linear.weight / divisors.astype(np.float32))
                whole = np.clip(whole, -HIGHEST, HIGHEST).astype(np.int8)
            self._kept[array] = whole, (largest / HIGHEST).astype(np.float32)
        return self._kept[array]


def _taken(arrays: Mapping[str, np.ndarray], start: int, size: int, calls: int) -> dict[str, np.ndarray]:
    """What ``size`` runs from ``start`` took or gave, out of ``calls``."""
    return {
        name: values[start * (len(values) // calls) : (start + size) * (len(values) // calls)]
        for name, values in arrays.items()
    }


@dataclass(frozen=True, eq=False)
class _Run:
    """The `Arithmetic` of one batch."""

    model: IntegerModel
    given: Mapping[str, np.ndarray]
    calls: int
    found: Layers = field(default_factory=dict)

    def linear(
        self, x: tf.Tensor, linear: Linear, name: str, *, hull: Callable[[], tf.Tensor] | None = None
    ) -> tf.Tensor:
        expected = self._product(x, linear, name)
        given = self.given.get(f"{name}.output")
        if given is None:
            return expected
        given = given.reshape(expected.shape)
        self.found[name] = expected.numpy(), given
        return tf.constant(given)

    def _product(self, x: tf.Tensor, linear: Linear, name: str) -> tf.Tensor:
        points = self.model.points
        if not self.model.is_dynamic and f"{name}.input" not in points:
            return _with_bias(tf.matmul(x, linear.weight), linear.bias)
        whole, scales = self.model.weights(linear)
        weight = tf.constant(whole, x.dtype)
        if self.model.is_dynamic:
            scale, zero_point = self._at_run_time(x)
            product = tf.matmul(steps(x, scale, zero_point) - zero_point, weight) * (scale * scales)
            return _with_bias(product, linear.bias)
        before, after = (affine(points[f"{name}.{end}"]) for end in ("input", "output"))
        unit = scales * np.float32(before.scale)
        product = tf.matmul(steps(x, before.scale, before.zero_point) - before.zero_point, weight) * unit
        sum_step = np.maximum(unit, np.float32(FINEST_SUM * after.scale))
        bias = None if linear.bias is None else np.rint(linear.bias / sum_step) * sum_step
        return rounded(_with_bias(product, bias), after)

    def _at_run_time(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scale and zero point of each row ``[rows, 1]``: of its own (LiteRT), or of all rows of a call (ONNX)."""
        rows = x if self.model.format == "tflite" else tf.reshape(x, [self.calls, -1])
        low = tf.minimum(tf.reduce_min(rows, axis=1, keepdims=True), 0.0)
        high = tf.maximum(tf.reduce_max(rows, axis=1, keepdims=True), 0.0)
        low, high = (tf.repeat(limit, x.shape[0] // rows.shape[0], axis=0) for limit in (low, high))
        scale = tf.where(high > low, (high - low) / (HIGHEST - LOWEST), 1.0)
        return scale, tf.round(LOWEST - low / scale)

    def attend(
        self, query: tf.Tensor, keys: Chunks, values: Chunks, core: IntegerCore, shift: tf.Tensor, *, name: str
    ) -> tf.Tensor:
        return attend(query, keys, values, core, shift, params=self.model.cores[name])

    def attend_rows(
        self, query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, shift: tf.Tensor | None, *, name: str
    ) -> tf.Tensor:
        return attend_rows(query, key, value, shift, params=self.model.rows[name])


class _Sites(_Run):
    """Notes which products share their weights."""

    def linear(
        self, x: tf.Tensor, linear: Linear, name: str, *, hull: Callable[[], tf.Tensor] | None = None
    ) -> tf.Tensor:
        self.model._sites.setdefault(id(linear.weight), {})[name] = None
        given = self.given.get(f"{name}.output")
        expected = _with_bias(tf.matmul(x, linear.weight), linear.bias) if given is None else given
        return tf.reshape(tf.constant(expected), [x.shape[0], linear.weight.shape[1]])


def _with_bias(product: tf.Tensor, bias: np.ndarray | None) -> tf.Tensor:
    return product if bias is None else product + bias
