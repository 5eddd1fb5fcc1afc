"""Quantisation points are found again in finished artefacts, and their values are what the names say."""

import numpy as np
import pytest

from perceiver_edge.converters.onnx.quantize import onnx_dynamic, onnx_fp16
from perceiver_edge.converters.points import is_tflite, observable_outputs, quantised_points
from perceiver_edge.converters.tflite.quantize import tflite_dynamic, tflite_fp16
from perceiver_edge.runtime import probe


def artefacts(model):
    return {
        ("tflite", "fp32"): model.tflite,
        ("tflite", "fp16"): tflite_fp16(model.tflite),
        ("tflite", "dynamic"): tflite_dynamic(model.tflite),
        ("tflite", "int8"): model.tflite_int8,
        ("onnx", "fp32"): model.onnx.SerializeToString(),
        ("onnx", "fp16"): onnx_fp16(model.onnx).SerializeToString(),
        ("onnx", "dynamic"): onnx_dynamic(model.onnx).SerializeToString(),
        ("onnx", "int8"): model.onnx_int8.SerializeToString(),
    }


@pytest.fixture(scope="module", params=["image_masked", "tied_three_self_attends", "latents_out"])
def model(request, subject):
    return subject(request.param)


def test_formats_are_told_apart(model):
    for (format_, _), content in artefacts(model).items():
        assert is_tflite(content) == (format_ == "tflite")


def test_every_site_can_be_observed_in_every_artefact(model):
    for kind, content in artefacts(model).items():
        unnamed = {"classifier.output"} if kind == ("onnx", "dynamic") else set()
        assert set(observable_outputs(content)) >= {f"{site}.output" for site in model.sites} - unnamed, kind


def test_observed_values_are_those_of_the_float_model(model):
    """Each point's value, not just its name: a fusion may leave the name on another value."""
    singles = [
        model.deployment.taps({name: values[i : i + 1] for name, values in model.feeds.items()})
        for i in range(len(model.reference))
    ]
    tolerance = {"fp32": 1e-4, "fp16": 2e-2, "dynamic": 0.2, "int8": 0.2}
    for (format_, precision), content in artefacts(model).items():
        tensors = observable_outputs(content)
        observed = probe(content, list(tensors.values()))(model.feeds)
        for point, tensor in tensors.items():
            expected = np.concatenate([single[point] for single in singles])
            value = observed[tensor].reshape(expected.shape)  # TFLite leaves the batch dimension in
            error = np.linalg.norm(value - expected) / np.linalg.norm(expected)
            assert error < tolerance[precision], (format_, precision, point)


def test_float_and_dynamic_models_have_no_quantised_points(model):
    for (_, precision), content in artefacts(model).items():
        assert bool(quantised_points(content)) == (precision == "int8")


def test_points_of_both_int8_models_have_the_same_names(model):
    found = artefacts(model)
    tflite, onnx = (quantised_points(found[format_, "int8"]) for format_ in ("tflite", "onnx"))
    assert set(tflite) == set(onnx) == set(model.ranges)
