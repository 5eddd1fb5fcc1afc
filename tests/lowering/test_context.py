"""A context ends with the call that made it."""

import gc
import weakref

import tensorflow as tf

from perceiver_edge.lowering import lower
from perceiver_edge.lowering.context import context_of
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.tokens import source_data

ABSORBED = {"cross_heads": 1, "cross_dim_head": 40, "depth": 1}


def test_a_context_goes_with_its_call(plain):
    lowered, _ = lower(plain(input_shape=(6, 8), **ABSORBED))
    module = LoweredPerceiver(lowered)
    feeds = {lowered.inputs[0].name: tf.zeros([1, *lowered.sources[0].shape])}
    data = source_data(feeds, lowered, linear=module._linear, tensor=module.tensor)
    context = context_of(data, lowered, lowered.encoder.context_norm, tensor=module.tensor)
    assert context.columns(with_one=True) is context.columns(with_one=True)
    assert context.made_alone(0, 8) is context.made_alone(0, 8) is not None
    gone = weakref.ref(context)
    del context
    gc.collect()
    assert gone() is None
