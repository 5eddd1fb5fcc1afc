"""Float TFLite: equal to the reference, builtin operators, static, named, tied weights stored once."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.census.take import census
from perceiver_edge.converters.tflite.convert import to_tflite
from perceiver_edge.converters.tflite.graph import tflite_sites
from perceiver_edge.errors import ConversionError
from perceiver_edge.runtime import load

CASES = (
    "sequence_masked", "image_non_square", "image_one_sample_masked_fully", "video_masked_heads",
    "tied_three_self_attends", "three_cross_heads", "head_narrower_than_context", "no_self_attend", "latents_out",
)  # fmt: skip
"""1, 2 and 3 axes, batch 2, masks, tied weights, several heads, keys and values not absorbed, no head."""


def graph_of(model):
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (graph,) = root.subgraphs
    return root, graph


@pytest.mark.parametrize("case", CASES)
def test_output_equals_the_reference(subject, case):
    model = subject(case)
    output = load(model.tflite)(model.feeds)
    assert np.linalg.norm(output - model.reference) < 1e-5 * np.linalg.norm(model.reference)


@pytest.mark.parametrize("case", CASES)
def test_every_site_is_a_fully_connected_of_that_name(subject, case):
    model = subject(case)
    assert list(tflite_sites(model.tflite)) == model.sites


def test_signature_names_inputs_and_output(subject):
    root, graph = graph_of(subject("sequence_masked").tflite)
    (signature,) = root.signatureDefs
    assert signature.signatureKey == b"serving_default"
    shapes = {
        entry.name.decode(): graph.tensors[entry.tensorIndex].shape.tolist()
        for entry in (*signature.inputs, *signature.outputs)
    }
    assert shapes == {"input": [2, 9, 3], "mask": [2, 9], "logits": [2, 3]}


def test_a_model_without_a_head_returns_latents(subject):
    outputs = load(subject("latents_out").tflite).outputs
    assert {name: spec.shape for name, spec in outputs.items()} == {"latents": (2, 4, 6)}


@pytest.mark.parametrize("case", CASES)
def test_shapes_are_static_and_operators_builtin(subject, case):
    root, graph = graph_of(subject(case).tflite)
    for tensor in graph.tensors:
        assert tensor.shapeSignature is None or -1 not in tensor.shapeSignature
    custom = schema.BuiltinOperator.CUSTOM
    assert all(max(code.builtinCode, code.deprecatedBuiltinCode) != custom for code in root.operatorCodes)


def test_gelu_and_softmax_are_single_operators(subject):
    operators = census(subject("image_non_square").tflite).operators
    # Depth 2: two cross-attends and two self-attends, each with a feed-forward block.
    assert (operators["GELU"], operators["SOFTMAX"], operators["FULLY_CONNECTED"]) == (4, 4, 16)
    assert not {"EXP", "TANH", "DIV"} & set(operators)


def test_tied_weights_are_stored_once(subject):
    model = subject("tied_three_self_attends").tflite
    root, graph = graph_of(model)
    buffers = {graph.tensors[graph.operators[int(s.operator)].inputs[1]].buffer for s in tflite_sites(model).values()}
    # Layer 0 has 17 of its own, layers 1 and 2 share 18 (16 of them run twice), and the classifier.
    assert (len(tflite_sites(model)), len(buffers)) == (17 + 18 + 16 + 1, 17 + 18 + 1)
    stored = [buffer.data.tobytes() for buffer in root.buffers if buffer.data is not None and len(buffer.data) > 64]
    assert len(set(stored)) == len(stored)


@pytest.mark.parametrize("operator", ["Svd", "Betainc"])
def test_an_operator_without_a_builtin_is_named(trace_module, operator):
    import tensorflow as tf

    functions = {"Svd": lambda x: tf.linalg.svd(x, compute_uv=False), "Betainc": lambda x: tf.math.betainc(x, x, x)}
    with pytest.raises(ConversionError, match=rf"(?s)builtin operators only \(no Flex\).*tf\.{operator}"):
        to_tflite(trace_module(functions[operator]))


def test_weights_are_aligned_as_the_schema_asks(subject):
    model = subject("tied_three_self_attends").tflite
    graph = schema.Model.GetRootAs(model, 0)
    for site in tflite_sites(model).values():
        operator = graph.Subgraphs(0).Operators(int(site.operator))
        buffer = graph.Buffers(graph.Subgraphs(0).Tensors(operator.Inputs(1)).Buffer())
        assert (buffer._tab.Vector(buffer._tab.Offset(4))) % 16 == 0
