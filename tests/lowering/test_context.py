"""What a call makes ends with it: contexts, and tensors of arrays that it made."""

import gc
import weakref

import numpy as np
import tensorflow as tf

from perceiver_edge.lowering import drop_maximum, lower, take_lines
from perceiver_edge.lowering.context import context_of
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.tokens import source_data

ABSORBED = {"cross_heads": 1, "cross_dim_head": 40, "depth": 1}


def test_a_context_goes_with_its_call(plain):
    lowered, _ = lower(plain(input_shape=(6, 8), **ABSORBED))
    module = LoweredPerceiver(lowered)
    feeds = {lowered.inputs[0].name: tf.zeros([1, *lowered.sources[0].shape])}
    data = source_data(feeds, lowered, linear=module._linear, tensor=module.tensor)
    context = context_of(data, lowered, tensor=module.tensor)
    assert context.columns(with_one=True) is context.columns(with_one=True)
    assert context.made_alone(0, 8) is context.made_alone(0, 8) is not None
    gone = weakref.ref(context)
    del context
    gc.collect()
    assert gone() is None


def test_calls_leave_no_tensors(plain, monkeypatch):
    monkeypatch.setattr(drop_maximum, "CHUNK_BYTES", 256)
    monkeypatch.setattr(drop_maximum, "FEW_ROWS_BYTES", 256)
    monkeypatch.setattr(take_lines, "SHORTEST_LINE", 4)
    lowered, _ = lower(plain(input_shape=(6, 8), **ABSORBED))
    assert lowered.cross_attentions()[0].is_by_line
    module = LoweredPerceiver(lowered)
    counts = []
    for _ in range(3):
        module(tf.constant(np.ones([1, *lowered.sources[0].shape]), tf.float32))
        gc.collect()
        counts.append(len(module._tensors))
    assert counts == counts[:1] * 3
