"""What artefacts of a model without a Keras form are proven equal to: its plain program, before any rewrite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.lowering import plain_program
from perceiver_edge.proof.reference import Feeds, Reference


def plain_reference(checkpoint: Checkpoint, input_shape: tuple[int, ...]) -> Reference:
    """The plain program in float32; it is built when it is first asked.

    Whether it computes what the model's own framework computes is for the import to see: it is read from the weights,
    as everything else.
    """
    run: Callable[[Feeds], np.ndarray] | None = None

    def answer(feeds: Feeds) -> np.ndarray:
        nonlocal run
        if run is None:
            run = _runner(checkpoint, input_shape)
        return run(feeds)

    return Reference(answer=answer, description="The float32 reference", cache_key="plain program")


def _runner(checkpoint: Checkpoint, input_shape: tuple[int, ...]) -> Callable[[Feeds], np.ndarray]:
    import tensorflow as tf

    from perceiver_edge.lowering.execute import LoweredPerceiver

    module = LoweredPerceiver.in_single_precision(plain_program(checkpoint.config, checkpoint.weights, input_shape))

    @tf.function(autograph=False)
    def run(data: dict[str, tf.Tensor], mask: tf.Tensor | None) -> tf.Tensor:
        return module(data, mask)

    def answer(feeds: Feeds) -> np.ndarray:
        data = {name: tf.constant(values) for name, values in feeds.items()}
        mask = data.pop("mask", None)
        output: np.ndarray = run(data, mask).numpy()
        return output

    return answer
