"""The counts of the floor, held against an exported graph."""

import dataclasses

import numpy as np
import onnx
import pytest

from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.config import PRESETS, InputSpec


def counted_in_onnx(config, shape):
    """(MACs with weights, MACs without, exponentials) of the lowered model's float ONNX graph."""
    from perceiver_edge.compiler.deployment import deploy
    from perceiver_edge.compiler.resolve import NamedModel
    from perceiver_edge.converters.onnx.convert import to_onnx

    checkpoint = Checkpoint(config=config, input_spec=InputSpec(shape=shape), weights=init_weights(config, 0))
    named = NamedModel(
        name="m", checkpoint=checkpoint, input_spec=checkpoint.input_spec, is_random_weights=True, is_digits=False
    )
    model = onnx.shape_inference.infer_shapes(to_onnx(deploy(named, batch=1, with_mask=False).traced))
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    shapes = {value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in values}
    constants = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    weights = core = exponentials = 0
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            left, right = ((shapes | constants)[name] for name in node.input[:2])
            macs = int(np.prod(left[:-1])) * left[-1] * right[-1]
            if node.op_type == "MatMul" and not constants.keys() & set(node.input):
                core += macs
            elif len(right) == 2:
                assert right[0] == left[-1]
                weights += macs
            else:
                core += macs  # the constant first query against the keys
        elif node.op_type == "Softmax":
            exponentials += int(np.prod(shapes[node.output[0]]))
    return weights, core, exponentials


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((16, 16), {}),  # absorbed
        ((16, 16), {"cross_dim_head": 4}),  # not absorbed
        ((16, 16), {"cross_dim_head": 4, "weight_tie_layers": True, "depth": 4}),
        ((16, 16), {"cross_dim_head": 7, "weight_tie_layers": True, "depth": 4}),  # the first alone is absorbed
        ((40,), {"input_axis": 1, "cross_heads": 3, "self_per_cross_attn": 2}),
        ((4, 6, 8), {"input_axis": 3, "self_per_cross_attn": 0}),
        ((30,), {"input_axis": 1, "fourier_encode_data": False, "final_classifier_head": False}),
    ],
)
def test_the_formulas_count_what_the_graph_has(shape, changes):
    from operations import count

    config = dataclasses.replace(PRESETS["tiny"][0], **changes)
    assert dataclasses.astuple(count(config, shape)) == counted_in_onnx(config, shape)


def test_both_decisions_of_lowering_occur_above():
    from operations import _absorbs

    tiny = PRESETS["tiny"][0]
    tied = dataclasses.replace(tiny, cross_dim_head=7)
    assert _absorbs(tiny, (16, 16), uses=1)
    assert not _absorbs(dataclasses.replace(tiny, cross_dim_head=4), (16, 16), uses=1)
    assert [_absorbs(tied, (16, 16), uses=uses) for uses in (1, 3)] == [True, False]
