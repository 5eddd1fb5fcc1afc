"""Run a `Program` with TensorFlow: the module that is traced and converted, and that calibration observes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering.context import Context, context_of
from perceiver_edge.lowering.integer_core import integer_blocks
from perceiver_edge.lowering.program import Linear, Norm, Program, TokenTables, map_arrays
from perceiver_edge.lowering.run_stack import Arithmetic, CoreTap, RowTap, RunLinear, StackRun, feed_forward
from perceiver_edge.lowering.source import Source
from perceiver_edge.lowering.tabulated_context import Products, TabulatedContext
from perceiver_edge.lowering.tokens import layer_norm, source_data, tokens, tokens_of

OUTPUT_SITE = "classifier"
"""The name of the last projection, whatever it is for."""

BRANCH_SITE = "branch"
"""What the names of the products beside it begin with."""

Tap = Callable[[str, tf.Tensor], None]
"""Called with the name of a GEMM's input (``….input``), output (``….output``) or hull (``….hull``) and its value."""


class LoweredPerceiver(tf.Module):
    """A `Program` as a callable ``tf.Module``.

    Every projection runs on a matrix ``[batch * latents, channels]`` (or ``[batch * tokens, channels]``), so that it
    is one FULLY_CONNECTED in TFLite and one Gemm in ONNX, bias included.
    """

    def __init__(
        self,
        program: Program,
        *,
        dtype: tf.DType = tf.float32,
        stored: Callable[[np.ndarray], np.ndarray] = lambda array: array,
    ) -> None:
        """``stored``: makes of an array, other than a product's weights, what is computed with."""
        super().__init__(name="perceiver")
        self._stored = stored
        self.program = program
        self.dtype = dtype
        # Weights are eager tensors: a trace captures them by reference, which is fast; literals in the graph are not.
        self._tensors: dict[int, tf.Tensor] = {}
        self._alive: list[np.ndarray] = []
        self._products: dict[Linear, Products] = {}

    @classmethod
    def in_single_precision(cls, program: Program) -> LoweredPerceiver:
        """The module of a program of any precision. Each array is in memory once: its own are views of the tensors."""
        tensors: dict[int, tf.Tensor] = {}
        views: list[np.ndarray] = []

        def held(array: np.ndarray) -> np.ndarray:
            tensor = tf.constant(array, tf.float32)
            view = np.asarray(memoryview(tensor))  # numpy() would copy
            tensors[id(view)] = tensor
            views.append(view)
            return view

        module = cls(map_arrays(program, held))
        module._tensors, module._alive = tensors, views
        return module

    def __call__(
        self,
        data: tf.Tensor | Mapping[str, tf.Tensor],
        mask: tf.Tensor | None = None,
        *,
        tap: Tap | None = None,
        core_tap: CoreTap | None = None,
        row_tap: RowTap | None = None,
        arithmetic: Arithmetic | None = None,
    ) -> tf.Tensor:
        """Compute the output.

        Args:
            data: ``[batch, *shape]`` of the module's dtype, or int32 where a source looks up; all sizes static. By
                name for a program of several inputs.
            mask: ``[batch, ...]`` boolean, one for each token, True where it may be attended to.
            tap: sees the input and the output of every projection, and of a cross-attend's output projection also the
                ``….hull``: the rows whose average its input is.
            core_tap: sees what the core of every cross-attend that has an int8 form computes with.
            row_tap: the same of every self-attend.
            arithmetic: computes the products instead; there are no taps then.

        Returns:
            ``[batch, *program.output.shape]``.
        """
        feeds = data if isinstance(data, Mapping) else {self.program.inputs[0].name: data}
        batch = next(iter(feeds.values())).shape[0]
        linear: RunLinear = functools.partial(self._linear, tap=tap) if arithmetic is None else arithmetic.linear
        data = source_data(feeds, self.program, linear=linear, tensor=self.tensor)
        shared = context = raw = self._context(feeds, data)
        if self.program.rows_are_tokens:
            raw = Context(tokens(data, self.program.sources, tensor=self.tensor))
        cores = integer_blocks(self.program) if core_tap is not None and mask is None else {}
        rows: tf.Tensor = None
        for stack, extent in zip(self.program.stacks, self.program.extents(), strict=True):
            if stack is not self.program.encoder:
                asked = tf.reshape(rows, [batch, extent.tokens, extent.channels])
                norm = stack.context_norm
                assert norm is None or isinstance(norm, Norm), "only tokens have positions"
                context = Context(asked if norm is None else self._norm(asked, norm))
                mask = None
            run = StackRun(
                stack,
                extent,
                context,
                mask,
                batch=batch,
                linear=linear,
                tensor=self.tensor,
                cores=cores,
                core_tap=core_tap,
                row_tap=row_tap,
                arithmetic=arithmetic,
            )
            is_last = stack is self.program.stacks[-1]
            asking = shared if stack.first_asks_with_context else raw
            if isinstance(stack.rows, Source):
                asking = Context(tokens_of(feeds[stack.rows.name], stack.rows, linear=linear, tensor=self.tensor))
            if stack.row_chunks == 1:
                rows = run.rows(None if isinstance(stack.rows, np.ndarray) else asking.rows)
                rows = self._output(rows, batch, linear) if is_last else rows
                continue
            parts, size = [], extent.rows // stack.row_chunks
            for index in range(stack.row_chunks):
                rows = run.rows(asking.some_rows(index * size, size), f".part{index}")
                # Projected part by part: what comes out is little beside the rows.
                rows = self._output(rows, batch, linear, f".part{index}") if is_last else rows
                parts.append(tf.reshape(rows, [batch, size, rows.shape[-1]]))
            rows = tf.concat(parts, axis=1)
        shape = (batch, *self.program.output.shape)
        return rows if tuple(rows.shape) == shape else tf.reshape(rows, shape)

    def of(self, program: Program) -> LoweredPerceiver:
        """Another program, with the tensors of this one where the arrays are the same."""
        other = LoweredPerceiver(program, dtype=self.dtype, stored=self._stored)
        other._tensors, other._alive = self._tensors.copy(), self._alive.copy()
        other._products = self._products
        return other

    def tensor(self, array: np.ndarray) -> tf.Tensor:
        """The array in the module's dtype; the same array is always the same tensor, so tied weights stay tied."""
        if id(array) not in self._tensors:
            with tf.init_scope():  # an eager tensor, also when the first call is a trace
                self._tensors[id(array)] = tf.constant(self._stored(array), self.dtype)
            self._alive.append(array)
        return self._tensors[id(array)]

    def _context(self, feeds: Mapping[str, tf.Tensor], data: list[tf.Tensor]) -> Context:
        """The encoder's."""
        norm = self.program.encoder.context_norm
        if not isinstance(norm, TokenTables):
            return context_of(data, self.program, norm, tensor=self.tensor)
        (source,) = self.program.inputs
        return TabulatedContext(feeds[source.name], norm, self._products, tensor=self.tensor)

    def _norm(self, x: tf.Tensor, norm: Norm) -> tf.Tensor:
        return layer_norm(x, norm, tensor=self.tensor)

    def _output(self, rows: tf.Tensor, batch: int, linear: RunLinear, suffix: str = "") -> tf.Tensor:
        """The last stack's rows ``[batch * n, channels]`` → ``[batch or batch * n, outputs]``."""
        output = self.program.output
        if output.is_mean:
            rows = tf.reduce_mean(tf.reshape(rows, [batch, rows.shape[0] // batch, rows.shape[-1]]), axis=1)
        if output.norm is not None:
            rows = self._norm(rows, output.norm)
        if output.projection is not None:
            projected = linear(rows, output.projection, OUTPUT_SITE + suffix)
            if output.branch is None:
                return projected
            normed = self._norm(rows, output.branch.norm)
            return projected + feed_forward(normed, output.branch, BRANCH_SITE, linear, suffix)
        return rows

    def _linear(
        self, x: tf.Tensor, linear: Linear, name: str, *, hull: Callable[[], tf.Tensor] | None = None, tap: Tap | None
    ) -> tf.Tensor:
        """``hull``, for the tap alone: gives values that enclose all that x can ever take."""
        with tf.name_scope(name):
            y = tf.matmul(x, self.tensor(linear.weight))
            if linear.bias is not None:
                y = tf.nn.bias_add(y, self.tensor(linear.bias))
        if tap is not None:
            tap(f"{name}.input", x)
            if hull is not None:
                tap(f"{name}.hull", hull())
            tap(f"{name}.output", y)
        return y
