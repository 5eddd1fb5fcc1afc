"""tf.Module → concrete function: the one trace that both formats are converted from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True, eq=False)
class Traced:
    """A concrete function with static shapes and named inputs and outputs.

    Contract with the traced callable: every matrix product with weights is one ``tf.matmul`` (and ``bias_add``) inside
    a name scope that ends in the product's own name, its *site*. Both converters keep such names, and everything
    that concerns single products (calibration, quantisation, error by layer) finds them again by site.
    """

    function: tf.types.experimental.ConcreteFunction
    input_names: tuple[str, ...]
    output_name: str

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every input, with the batch, by name."""
        captured_follow = zip(self.input_names, self.function.inputs, strict=False)
        return {name: tuple(tensor.shape.as_list()) for name, tensor in captured_follow}


def trace(
    function: Callable[..., tf.Tensor], *, inputs: dict[str, tuple[tuple[int, ...], tf.DType]], output_name: str
) -> Traced:
    """Trace ``function(*inputs)`` for fixed shapes.

    Args:
        function: called with the inputs in order; returns one tensor.
        inputs: shape (with batch) and dtype by name.
        output_name: the name of the result in every artefact.
    """
    signature = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]

    def named(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return {output_name: function(*tensors)}

    concrete = tf.function(named, input_signature=signature, autograph=False).get_concrete_function()
    return Traced(concrete, tuple(inputs), output_name)
