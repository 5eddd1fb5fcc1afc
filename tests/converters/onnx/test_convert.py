"""Float ONNX: valid, equal to the reference, one Gemm a site, fused where the format has fused operators."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from perceiver_edge.converters.census.take import census
from perceiver_edge.converters.onnx.convert import to_onnx
from perceiver_edge.converters.onnx.graph import onnx_sites
from perceiver_edge.errors import BadInputError, ConversionError
from perceiver_edge.runtime import load

CASES = (
    "sequence_masked", "image_non_square", "image_one_sample_masked_fully", "video_masked_heads",
    "tied_three_self_attends", "three_cross_heads", "head_narrower_than_context", "no_self_attend", "latents_out",
)  # fmt: skip
"""1, 2 and 3 axes, batch 2, masks, tied weights, several heads, keys and values not absorbed, no head."""
OPSETS = (18, 19, 20)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.mark.parametrize("case", CASES)
def test_output_equals_the_reference(subject, case):
    model = subject(case)
    output = load(model.onnx.SerializeToString())(model.feeds)
    assert np.linalg.norm(output - model.reference) < 1e-5 * np.linalg.norm(model.reference)


@pytest.mark.parametrize("case", CASES)
def test_every_site_is_one_gemm_of_that_name(subject, case):
    model = subject(case)
    assert sorted(onnx_sites(model.onnx.graph)) == sorted(model.sites)
    assert operators(model.onnx)["Gemm"] == len(model.sites)


def test_weights_are_named_after_their_site(subject):
    model = subject("image_non_square")
    initializers = {i.name: tuple(i.dims) for i in model.onnx.graph.initializer}
    assert all(site.weight == f"{name}.weight" for name, site in onnx_sites(model.onnx.graph).items())
    assert initializers["classifier.weight"] == (6, 3)
    assert initializers["classifier.bias"] == (3,)


def test_tied_weights_are_stored_once(subject):
    model = subject("tied_three_self_attends")
    sites = onnx_sites(model.onnx.graph)
    weights = {site.weight for site in sites.values()}
    assert (len(sites), len(weights)) == (17 + 18 + 16 + 1, 17 + 18 + 1)
    assert sites["layers.2.self_ff.2.up"].weight == "layers.1.self_ff.2.up.weight"  # the first user's name
    large = [numpy_helper.to_array(i).tobytes() for i in model.onnx.graph.initializer if np.prod(i.dims) > 16]
    assert len(set(large)) == len(large)


def test_inputs_and_output_are_named_and_static(subject):
    graph = subject("sequence_masked").onnx.graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"input": [2, 9, 3], "mask": [2, 9], "logits": [2, 3]}


def test_a_model_without_a_head_returns_latents(subject):
    outputs = load(subject("latents_out").onnx.SerializeToString()).outputs
    assert {name: spec.shape for name, spec in outputs.items()} == {"latents": (2, 4, 6)}


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_is_valid_equal_and_fused(subject, opset):
    model = subject("image_masked")
    converted = to_onnx(model.deployment.traced, opset=opset)
    onnx.checker.check_model(converted, full_check=True)
    assert {entry.domain: entry.version for entry in converted.opset_import}[""] == opset
    output = load(converted.SerializeToString())(model.feeds)
    assert np.linalg.norm(output - model.reference) < 1e-5 * np.linalg.norm(model.reference)
    counted = operators(converted)
    assert (counted["Gelu"], counted["Erf"]) == ((4, 0) if opset >= 20 else (0, 4))


@pytest.mark.parametrize("opset", [17, 21, 0, -1])
def test_an_opset_out_of_range_is_refused(subject, opset):
    with pytest.raises(BadInputError, match=r"(?s)18 to 20.*got"):
        to_onnx(subject("image_masked").deployment.traced, opset=opset)


def test_no_normalisation_stays_decomposed(subject):
    counted = operators(subject("image_non_square").onnx)
    # Eight blocks less the first query's, and the head.
    assert counted["LayerNormalization"] == 8
    assert counted["Sqrt"] == counted["Reciprocal"] == 1  # the σ of the context, which is not centred
    assert not {"Rsqrt", "Pow"} & set(counted)
    assert counted["ReduceMean"] == 1  # the mean over latents


@pytest.mark.parametrize("opset", OPSETS)
def test_gelu_is_fused_in_the_graph_that_runs(subject, opset):
    model = to_onnx(subject("image_non_square").deployment.traced, opset=opset)
    running = census(model.SerializeToString()).operators
    assert sum(count for kind, count in running.items() if kind.endswith("Gelu")) == 4
    assert "Erf" not in running


def test_an_operator_that_onnx_lacks_is_named(trace_module):
    import tensorflow as tf

    with pytest.raises(ConversionError, match="Betainc"):
        to_onnx(trace_module(lambda x: tf.math.betainc(x, x, x)))


@pytest.mark.parametrize("case", ["image_non_square", "video_masked_heads"])
def test_no_bare_number_meets_a_last_axis_of_one(subject, case):
    """ONNX Runtime 1.32 takes 50 times as long for ``[B, T, 1] * number`` as for ``[B, T, 1] * [1, 1, 1]``."""
    model = onnx.shape_inference.infer_shapes(subject(case).onnx)
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input):
        shapes[value.name] = [size.dim_value for size in value.type.tensor_type.shape.dim]
    tokens = int(np.prod(next(iter(subject(case).feeds.values())).shape[1:-1]))
    for node in model.graph.node:
        if node.op_type in ("Add", "Sub", "Mul", "Div") and not node.name.endswith("_const_fold"):
            left, right = (shapes[name] for name in node.input)
            longer = max(left, right, key=len)
            is_of_tokens = len(longer) == 3 and longer[1:] == [tokens, 1]
            assert not is_of_tokens or len(left) == len(right), node.name
