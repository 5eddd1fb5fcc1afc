"""The int8 TFLite and the int8 ONNX model are the same model: one calibration, one grid, one answer."""

import functools

import numpy as np
import pytest

from perceiver_edge.compiler.artefacts import FORMATS, Kind, build
from perceiver_edge.proof.metrics import measure
from perceiver_edge.proof.prove import outputs
from perceiver_edge.runtime import load

AGREEMENT = 0.999


def test_int8_formats_agree_on_digits(subject):
    digits = subject("digits")
    tflite, onnx = (outputs(load(digits.artefacts[Kind(f, "int8")]), digits.held_out) for f in FORMATS)
    agreement = measure(tflite, onnx, is_classifier=True)
    assert agreement.cosine >= AGREEMENT
    assert agreement.cosine_min >= 0.99
    assert agreement.top1_agreement >= 0.99


@pytest.mark.slow
def test_int8_formats_agree_on_photographs():
    datasets = pytest.importorskip("sklearn.datasets")
    from perceiver_edge.calibration import ArraySource, Ranges
    from perceiver_edge.calibration.product_inputs import product_inputs
    from perceiver_edge.compiler.cores import calibrate
    from perceiver_edge.compiler.deployment import deploy
    from perceiver_edge.compiler.resolve import resolve_model

    random = np.random.default_rng(0)
    crops = []
    for picture in datasets.load_sample_images().images:
        for _ in range(8):
            top, left = (random.integers(0, size - 224) for size in picture.shape[:2])
            crops.append((picture[top : top + 224, left : left + 224] / 255 - 0.5) / 0.5)
    samples = np.stack(crops).astype(np.float32)[random.permutation(len(crops))]
    model = resolve_model("readme")
    deployment = deploy(model, batch=1, with_mask=False)
    calibrating = ArraySource({"input": samples[:8]}, shape=model.sample_shape, description="photographs")
    kinds = tuple(Kind(format_, "int8") for format_ in FORMATS)
    points, cores, decision = calibrate(deployment.survey, deployment.losses, calibrating)
    assert len(cores) == 6, decision.reason
    ranges = Ranges(
        points=points, cores=cores, method="minmax", num_samples=8, source="photographs", is_random=False,
        digests=frozenset(), fingerprint=model.fingerprint,
    )  # fmt: skip
    artefacts = build(
        deployment.traced,
        kinds,
        half_traced=deployment.half_traced,
        opset=18,
        integer_form=functools.partial(deployment.integer_form, ranges),
        product_inputs=lambda: product_inputs(deployment.taps, calibrating),
    )
    tflite, onnx = (
        np.stack([np.asarray(load(artefacts[kind])(sample[np.newaxis])).reshape(-1) for sample in samples[8:]])
        for kind in kinds
    )
    assert measure(tflite, onnx, is_classifier=True).cosine >= AGREEMENT
