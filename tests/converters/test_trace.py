"""One trace for both formats: static shapes, names, weights by reference, every product in a scope of its own."""

import numpy as np
import pytest

from perceiver_edge.converters.sites import Site, require_sites, site_name
from perceiver_edge.errors import ConversionError

SITE = Site(input="x", weight="w", output="y", operator="0")


def test_inputs_and_output_have_names_and_static_shapes(subject):
    traced = subject("video_masked_heads").deployment.traced
    (specs, _) = traced.function.structured_input_signature
    assert [(spec.name, spec.shape.as_list(), spec.dtype.name) for spec in specs] == [
        ("input", [2, 3, 2, 5, 3], "float32"),
        ("mask", [2, 3, 2, 5], "bool"),
    ]
    assert traced.input_names == ("input", "mask")
    assert {name: t.shape.as_list() for name, t in traced.function.structured_outputs.items()} == {"logits": [2, 3]}


def test_a_model_without_a_head_returns_latents(subject):
    traced = subject("latents_out").deployment.traced
    assert {name: t.shape.as_list() for name, t in traced.function.structured_outputs.items()} == {"latents": [2, 4, 6]}


def test_the_trace_computes_what_perceiver_pytorch_computes(subject):
    import tensorflow as tf

    model = subject("sequence_masked")
    feeds = [tf.constant(model.feeds[name]) for name in model.deployment.traced.input_names]
    (output,) = model.deployment.traced.function(*feeds).values()
    assert np.linalg.norm(output - model.reference) < 1e-5 * np.linalg.norm(model.reference)


def test_weights_are_captured_once_each(subject):
    graph = subject("tied_three_self_attends").deployment.traced.function.graph
    captured = [tensor.numpy() for tensor, _ in graph.captures]
    assert len({array.tobytes() for array in captured}) == len(captured)


def test_every_product_with_weights_has_a_scope_of_its_own(subject):
    model = subject("head_narrower_than_context")
    graph = model.deployment.traced.function.graph
    weights = {placeholder.name for _, placeholder in graph.captures}
    products = [o for o in graph.get_operations() if o.type == "MatMul" and o.inputs[1].name in weights]
    assert [site_name(operation.name) for operation in products] == model.sites
    assert any(site.endswith(".key") for site in model.sites)  # keys not absorbed: 20 channels against 2 a head


@pytest.mark.parametrize(
    ("scoped", "site"),
    [
        ("layers.0.cross_ff/layers.0.cross_ff.up/MatMul", "layers.0.cross_ff.up"),
        ("layers.1.self_attn.0/layers.1.self_attn.0.qkv/MatMul_1", "layers.1.self_attn.0.qkv"),
        ("classifier/MatMul;classifier/BiasAdd", "classifier"),
    ],
)
def test_a_site_is_the_scope_of_its_product(scoped, site):
    assert site_name(scoped) == site


@pytest.mark.parametrize("scoped", ["MatMul", "MatMul/classifier", "classifier/Add", ""])
def test_a_product_without_a_scope_is_refused(scoped):
    with pytest.raises(ConversionError, match="outside of a named scope"):
        site_name(scoped)


def test_sites_must_be_exactly_those_expected():
    require_sites({"a": SITE, "b": SITE}, ["b", "a"], "ONNX")
    with pytest.raises(ConversionError, match=r"(?s)ONNX model lacks.*no b"):
        require_sites({"a": SITE}, ["a", "b"], "ONNX")
    with pytest.raises(ConversionError, match=r"(?s)TFLite model has products without.*none for b"):
        require_sites({"a": SITE, "b": SITE}, ["a"], "TFLite")
