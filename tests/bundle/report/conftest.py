import dataclasses

import numpy as np
import pytest

from perceiver_edge.bundle.manifest import Artefact, CalibrationInfo, FileRecord, Manifest, TensorSpec
from perceiver_edge.config import InputSpec, PerceiverConfig
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.layers import layer_errors
from perceiver_edge.proof.parity import ArtefactParity, ParityReport

LAYERS = ("encode", "layers.0.cross_attn", "layers.0.cross_ff", "layers.1.self_attn", "head")


def artefact(format_, precision, size):
    record = FileRecord.of(f"{format_} {precision}".encode())
    census = {
        "operators": {"FULLY_CONNECTED": 12, "SOFTMAX": 4},
        "int8_gemm_share": 1.0 if precision == "int8" else 0.0,
        "float_islands": ["layers.0.cross_attn: BATCH_MATMUL, SOFTMAX"],
    }
    return Artefact(
        size_bytes=size,
        sha256=record.sha256,
        format=format_,
        precision=precision,
        inputs=(TensorSpec(name="image", shape=(1, 32, 32, 1), dtype="float32"),),
        outputs=(TensorSpec(name="logits", shape=(1, 10), dtype="float32"),),
        census=census,
    )


@pytest.fixture
def manifest():
    artefacts = {
        f"digits_{precision}.{format_}": artefact(format_, precision, size)
        for format_ in ("tflite", "onnx")
        for precision, size in (("fp32", 4_000_000), ("int8", 1_250_000))
    }
    return Manifest(
        name="digits",
        config=PerceiverConfig(num_freq_bands=4, max_freq=10.0, depth=2, input_channels=1, num_classes=10),
        input_spec=InputSpec(shape=(32, 32), image_mean=(0.5,), image_std=(0.25,)),
        weights_fingerprint="0123456789abcdef" * 4,
        is_random_weights=False,
        calibration=CalibrationInfo(
            method="percentile", num_samples=128, source="digits, calibration part", is_random=False
        ),
        lowering=(
            Decision("share_context", True, "2 cross-attends read the same context"),
            Decision("absorb_keys", False, "261 channels > 64: 1.83 → 4.10 GMAC"),
        ),
        unshared_points={"tflite": (), "onnx": ("layers.1.ff.gelu",)},
        artefacts=artefacts,
        tools={"tensorflow": "2.21.0", "onnxruntime": "1.32.0"},
    )


@pytest.fixture
def parity(manifest):
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(100, 10))
    labels = reference.argmax(axis=1)
    layers = {name: rng.normal(size=(4, 16)) for name in LAYERS}

    def prove(name, artefact):
        noise = 1e-6 if artefact.precision == "fp32" else 0.01
        growth = dict(zip(LAYERS, (0.1, 1.0, 1.1, 1.3, 1.2), strict=True))
        return ArtefactParity(
            name=name,
            engine="onnxruntime" if artefact.format == "onnx" else "litert",
            precision=artefact.precision,
            judgement=judge(
                reference,
                reference + noise * rng.normal(size=reference.shape),
                gates=Gates.for_precision(artefact.precision),
                is_classifier=True,
                labels=labels,
            ),
            layers=layer_errors(layers, {key: value * (1 + noise * growth[key]) for key, value in layers.items()}),
        )

    return ParityReport(
        artefacts=tuple(prove(*item) for item in manifest.artefacts.items()),
        num_samples=100,
        samples_source="digits, held-out part",
        is_random_weights=False,
        is_random_data=False,
    )


@pytest.fixture
def failed(parity):
    """The same report with an int8 artefact whose output is NaN."""
    rng = np.random.default_rng(0)
    first, second, *rest = parity.artefacts
    reference = rng.normal(size=(100, 10))
    broken = dataclasses.replace(
        second,
        judgement=judge(reference, reference * np.nan, gates=Gates.for_precision("int8"), is_classifier=True),
        layers=(dataclasses.replace(second.layers[0], relative_l2=float("nan")), *second.layers[1:]),
    )
    return dataclasses.replace(parity, artefacts=(first, broken, *rest))


@pytest.fixture
def latency():
    return {
        "digits_fp32.tflite": {"median_ms": 8.0, "p90_ms": 10.0},
        "digits_int8.tflite": {"median_ms": 4.0, "p90_ms": 5.0},
        "digits_fp32.onnx": {"median_ms": 6.0, "p90_ms": 6.5},
    }


@pytest.fixture
def held_out():
    """Pictures, labels and answers; those of every model but the first differ in three samples."""
    rng = np.random.default_rng(1)
    reference = rng.normal(size=(100, 10)).astype(np.float32)
    labels = reference.argmax(axis=1)
    return HeldOut(
        inputs={"input": rng.random((100, 32, 32, 1), dtype=np.float32)}, reference=reference,
        labels=labels, source="digits, held-out part", is_random=False,
    )  # fmt: skip


@pytest.fixture
def answered(parity, held_out):
    """The report of models that were asked for `held_out`: int8 ones answer samples 3, 14 and 15 otherwise."""

    def classes(artefact):
        chosen = held_out.labels.copy()
        if artefact.precision == "int8":
            chosen[[3, 14, 15]] = (chosen[[3, 14, 15]] + 1) % 10
        return dataclasses.replace(artefact, classes=tuple(chosen.tolist()))

    return dataclasses.replace(parity, artefacts=tuple(map(classes, parity.artefacts)))
