import json

import numpy as np
import pytest

from perceiver_edge.bundle.manifest import Artefact, CalibrationInfo, FileRecord, Manifest, TensorSpec, seal
from perceiver_edge.config import PRESETS
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.parity import ArtefactParity, ParityReport


@pytest.fixture
def make_manifest():
    def make(content=b"model one", name="tiny"):
        config, input_spec = PRESETS["tiny"]
        record = FileRecord.of(content)
        return Manifest(
            name=name,
            config=config,
            input_spec=input_spec,
            weights_fingerprint="ab" * 32,
            is_random_weights=True,
            calibration=CalibrationInfo(method="min-max", num_samples=8, source="random", is_random=True),
            lowering=(Decision(rule="absorb_keys", applied=False, reason="more MACs"),),
            unshared_points={"tflite": (), "onnx": ("head",)},
            artefacts={
                f"{name}_int8.onnx": Artefact(
                    size_bytes=record.size_bytes,
                    sha256=record.sha256,
                    format="onnx",
                    precision="int8",
                    inputs=(TensorSpec(name="image", shape=(1, 16, 16, 3), dtype="float32"),),
                    outputs=(TensorSpec(name="logits", shape=(1, 10), dtype="float32"),),
                    census={"operators": {"MatMul": 2}},
                )
            },
            tools={"numpy": "2.4.6"},
        )

    return make


@pytest.fixture
def make_files(make_manifest):
    """All files of a small bundle; ``content`` tells one bundle from another."""

    def make(content=b"model one"):
        return seal(make_manifest(content), {"tiny_int8.onnx": content, "README.md": b"card of " + content})

    return make


@pytest.fixture
def proven_files(make_manifest):
    """All files of a small bundle with a proof."""
    reference = np.eye(10)[:4] + 0.1
    report = ParityReport(
        artefacts=(
            ArtefactParity(
                name="tiny_int8.onnx", engine="onnxruntime", precision="int8",
                judgement=judge(reference, reference, gates=Gates.for_precision("int8"), is_classifier=True),
            ),
        ),
        num_samples=4, samples_source="four samples", is_random_weights=True, is_random_data=False,
    )  # fmt: skip
    content = b"m" * 20_000
    files = {"tiny_int8.onnx": content, "README.md": b"# tiny\n", "parity.json": json.dumps(report.to_dict()).encode()}
    return seal(make_manifest(content), files)
