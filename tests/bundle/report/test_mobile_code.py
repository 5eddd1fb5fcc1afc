"""The snippets for apps: they are not compiled here, so what they name is held against the manifest."""

import dataclasses
import re

import pytest

from perceiver_edge.bundle.manifest import TensorSpec
from perceiver_edge.bundle.report import render_model_card


def _code(card, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


def _with_inputs(manifest, *inputs):
    artefacts = {name: dataclasses.replace(a, inputs=inputs) for name, a in manifest.artefacts.items()}
    return dataclasses.replace(manifest, artefacts=artefacts)


def test_apps_get_this_models_files_names_and_shapes(manifest, parity):
    card = render_model_card(manifest, parity)
    litert, onnxruntime = _code(card, "kotlin")
    (swift,) = _code(card, "swift")
    assert '"digits_int8.tflite"' in litert
    assert '"digits_int8.tflite"' in swift
    assert '"digits_int8.onnx"' in onnxruntime
    for code in (litert, onnxruntime, swift):
        assert '"image"' in code
        assert '"logits"' in code
        assert "[1, 10]" in code
        assert "1024" in code
    assert "longArrayOf(1, 32, 32, 1)" in onnxruntime


def test_a_mask_is_boolean_and_lets_everything_through(manifest, parity):
    masked = _with_inputs(
        manifest,
        TensorSpec(name="data", shape=(-1, 8, 3), dtype="float32"),
        TensorSpec(name="mask", shape=(1, 8), dtype="bool"),
    )
    card = render_model_card(masked, parity)
    litert, onnxruntime = _code(card, "kotlin")
    (swift,) = _code(card, "swift")
    assert 'getValue("data").writeFloat(FloatArray(24))' in litert
    assert 'getValue("mask").writeBoolean(BooleanArray(8) { true })' in litert
    assert "ByteBuffer.wrap(ByteArray(8) { 1 }), longArrayOf(1, 8), OnnxJavaType.BOOL" in onnxruntime
    assert 'mapOf("data" to input0, "mask" to input1)' in onnxruntime
    assert "[Bool](repeating: true, count: 8)" in swift
    assert 'toInputNamed: "mask"' in swift


def test_without_a_mask_nothing_of_it_is_imported(manifest, parity):
    assert "OnnxJavaType" not in render_model_card(manifest, parity)


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\(b)", "a\nb", "```", "ä 𝄞"])
def test_no_name_leaves_its_literal(name, manifest, parity):
    card = render_model_card(_with_inputs(manifest, TensorSpec(name=name, shape=(1, 2), dtype="float32")), parity)
    kotlin, swift = _code(card, "kotlin")[0], _code(card, "swift")[0]
    (in_kotlin,) = re.findall(r'inputs\.getValue\("([^"]*)"\)', kotlin)
    assert re.fullmatch(r"([\w .-]|\\u[0-9a-f]{4})*", in_kotlin, re.ASCII)
    units = re.sub(r"\\u(....)", lambda match: chr(int(match[1], 16)), in_kotlin)
    assert units.encode("utf-16", "surrogatepass").decode("utf-16") == name
    (in_swift,) = re.findall(r'toInputNamed: "([^"]*)"', swift)
    assert re.sub(r"\\u\{(\w+)\}", lambda match: chr(int(match[1], 16)), in_swift) == name
