"""A checkpoint in its deployment form: lowered, traced, and open to observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from perceiver_edge.calibration.hull import HULL_SUFFIX
from perceiver_edge.calibration.samples import INPUT, MASK
from perceiver_edge.converters.trace import Traced, trace
from perceiver_edge.lowering import Decision, lower, plain_program
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.models import NamedModel


@dataclass(frozen=True, eq=False)
class Deployment:
    """``traced``: what both formats are converted from. ``decisions``: what lowering did and why.

    ``taps``: feeds of batch 1 by name → every quantisation point's activation by name, and hulls (`calibration.hull`).
    """

    traced: Traced
    decisions: tuple[Decision, ...]
    taps: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    point_names: tuple[str, ...]


def deploy(model: NamedModel, *, batch: int, with_mask: bool) -> Deployment:
    """Lower the model and trace it for ``batch`` samples; ``with_mask`` adds a boolean input ``mask``."""
    program, decisions = lower(plain_program(model.checkpoint.config, model.checkpoint.weights, model.input_spec.shape))
    module = LoweredPerceiver(program)
    inputs = {INPUT: ((batch, *model.sample_shape), tf.float32)}
    if with_mask:
        inputs[MASK] = ((batch, *model.input_spec.shape), tf.bool)

    single = {name: tf.TensorSpec((1, *shape[1:]), dtype) for name, (shape, dtype) in inputs.items()}
    # TensorFlow sorts the keys of a dictionary that a function returns; the order of execution reads better.
    tapped: list[str] = []

    def observed(feeds: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        points: dict[str, tf.Tensor] = {}
        module(feeds[INPUT], feeds.get(MASK), tap=points.__setitem__)
        tapped[:] = points
        return points

    # Both traces are concrete: they keep the float32 weights, and the float64 program is freed here.
    concrete = tf.function(observed, autograph=False, input_signature=[single]).get_concrete_function()

    def taps(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        points = concrete({name: tf.constant(array) for name, array in feeds.items()})
        return {name: np.asarray(memoryview(points[name])) for name in tapped}  # numpy() would copy

    point_names = tuple(name for name in tapped if not name.endswith(HULL_SUFFIX))
    output_name = "logits" if model.checkpoint.config.final_classifier_head else "latents"
    return Deployment(trace(module, inputs=inputs, output_name=output_name), decisions, taps, point_names)
