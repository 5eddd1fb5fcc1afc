"""float16 ONNX: what would overflow, or vanish, in half precision is not in half precision."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from perceiver_edge.converters.onnx.half import LONG_ROW, float32_nodes
from perceiver_edge.converters.onnx.quantize import onnx_fp16
from perceiver_edge.runtime import load


def attention(columns, *, query_scale=1.0):
    """``mean(softmax(query @ contextᵀ) @ context)`` over 4 queries and this many tokens of 8 channels."""
    rng = np.random.default_rng(0)
    query = query_scale * rng.normal(size=(4, 8)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["input"], ["keys"], "keys", perm=[1, 0]),
            helper.make_node("MatMul", ["query", "keys"], ["scores"], "scores"),
            helper.make_node("Softmax", ["scores"], ["weights"], "softmax", axis=-1),
            helper.make_node("MatMul", ["weights", "input"], ["attended"], "attended"),
            helper.make_node("Mul", ["attended", "two"], ["doubled"], "doubled"),
            helper.make_node("ReduceMean", ["doubled", "axes"], ["logits"], "mean", keepdims=1),
        ],
        "attention",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [columns, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 8])],
        [
            numpy_helper.from_array(query, "query"),
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            numpy_helper.from_array(np.array([0], np.int64), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def element_types(model):
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}


def node_types(model):
    """Operator to the element types of its outputs."""
    types = element_types(model)
    return {kind: {types[n.output[0]] for n in model.graph.node if n.op_type == kind} for kind in ("Softmax", "Mul")}


def test_the_mean_probability_of_the_readme_model_is_no_normal_half():
    assert 0 < np.float16(1 / 50_176) < np.finfo(np.float16).tiny
    assert np.float16(1 / LONG_ROW) == 16 * np.finfo(np.float16).tiny


@pytest.mark.parametrize(("columns", "stays"), [(LONG_ROW, True), (LONG_ROW - 1, False)])
def test_attention_over_many_tokens_stays_float32(columns, stays):
    model = attention(columns)
    assert float32_nodes(model) == ["scores", "softmax", "attended"] * stays + ["mean"]
    expected = {TensorProto.FLOAT if stays else TensorProto.FLOAT16}
    assert node_types(onnx_fp16(model)) == {"Softmax": expected, "Mul": {TensorProto.FLOAT16}}


def test_scores_beyond_half_precision_stay_finite():
    """The keys are at most 4.5 and the queries 20,000: scores pass 65,504."""
    x = np.random.default_rng(1).normal(size=(LONG_ROW, 8)).astype(np.float32)
    model = attention(LONG_ROW, query_scale=1e4)
    half = load(onnx_fp16(model).SerializeToString())({"input": x})
    assert np.linalg.norm(half - load(model.SerializeToString())({"input": x})) < 1e-2 * np.linalg.norm(half)
    with np.errstate(over="ignore"):
        assert not np.isfinite(np.float16(numpy_helper.to_array(model.graph.initializer[0]) @ x.T)).all()


def test_a_mean_over_latents_does_not_overflow():
    x = np.full((4, 8), 30_000, np.float32)  # doubled and summed 240,000
    model = attention(4, query_scale=0.0)
    half = onnx_fp16(model)
    (mean,) = [node for node in half.graph.node if node.op_type == "ReduceMean"]
    assert element_types(half)[mean.output[0]] == TensorProto.FLOAT
    np.testing.assert_allclose(load(half.SerializeToString())({"input": x}), 60_000, rtol=1e-3)


def test_layer_normalisations_compute_in_float32(subject):
    half = onnx_fp16(subject("image_32x32").onnx)
    norms = [node for node in half.graph.node if node.op_type == "LayerNormalization"]
    stash_types = [a.i for node in norms for a in node.attribute if a.name == "stash_type"]
    assert norms and set(stash_types) <= {TensorProto.FLOAT}


def test_a_whole_model_keeps_its_cross_attends_and_halves_the_rest(subject):
    model = subject("image_32x32")
    half = onnx_fp16(model.onnx)
    types = element_types(half)
    softmaxes = {node.name: types[node.output[0]] for node in half.graph.node if node.op_type == "Softmax"}
    assert {"cross" in name: kind for name, kind in softmaxes.items()} == {
        True: TensorProto.FLOAT,
        False: TensorProto.FLOAT16,
    }
    gemms = [node for node in half.graph.node if node.op_type == "Gemm"]
    assert gemms and {types[node.output[0]] for node in gemms} == {TensorProto.FLOAT16}
    output = load(half.SerializeToString())(model.feeds)
    assert np.linalg.norm(output - model.reference) < 1e-2 * np.linalg.norm(model.reference)
