"""What a stranger's file may reach: a whole file of each format, and what reads it."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from perceiver_edge.bundle.manifest import Manifest
from perceiver_edge.calibration import Range, Ranges, open_source
from perceiver_edge.calibration.labels import read_labels
from perceiver_edge.checkpoints import Checkpoint, init_weights, load_checkpoint, save_checkpoint
from perceiver_edge.checkpoints.huggingface_layout import huggingface_shapes
from perceiver_edge.checkpoints.perceiver_io import perceiver_io_shapes
from perceiver_edge.config import PRESETS, parse_config
from perceiver_edge.config.huggingface import parse_huggingface_config
from perceiver_edge.config.perceiver_io import PerceiverIOConfig
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.parity import ArtefactParity, ParityReport
from perceiver_edge.proof.source import read_answers

SHAPE = (4, 4, 3)
SAMPLES = np.random.default_rng(0).random((5, *SHAPE), np.float32)


@dataclass(frozen=True)
class Target:
    """``read`` ends, or raises an error of ours; whatever else it does is a fault."""

    seed: bytes
    read: Callable[[bytes], object]
    is_text: bool


def targets() -> dict[str, Target]:
    """By the name of the format."""
    weights = {} if find_spec("torch") is None else {"weights.pt": _torch()}
    return weights | {
        "config.json": _file_of(_checkpoint_files(), "config.json"),
        "config.json of a PerceiverIO": _perceiver_io(),
        "config.json of Hugging Face": _huggingface("config.json"),
        "preprocessor_config.json": _huggingface("preprocessor_config.json"),
        "model.safetensors": _file_of(_checkpoint_files(), "model.safetensors"),
        "calibration.json": Target(_ranges().to_json().encode(), _read_ranges, is_text=True),
        "manifest.json": Target(_manifest().to_json(), lambda b: Manifest.from_json(b, where="it"), is_text=True),
        "parity.json": Target(json.dumps(_parity().to_dict()).encode(), _read_parity, is_text=True),
        "held_out.npz": Target(_held_out().to_bytes(), lambda b: HeldOut.from_bytes(b, where="it"), is_text=False),
        "samples.npy": Target(_npy(SAMPLES), lambda b: _read_samples(b, ".npy"), is_text=False),
        "samples.npz": Target(_npz(input=SAMPLES), lambda b: _read_samples(b, ".npz"), is_text=False),
        "labels.csv": Target(b"a.png,cat\nb.png,3\n", lambda b: _labels(b, "labels.csv"), is_text=True),
        "labels.json": Target(b'{"a.png": "cat", "b.png": 3}', lambda b: _labels(b, "labels.json"), is_text=True),
        "labels.npy": Target(_npy(np.arange(9)), lambda b: _labels(b, "labels.npy"), is_text=False),
        "reference.npz": Target(_npz(input=SAMPLES, output=SAMPLES[:, 0, 0]), _read_answers, is_text=False),
        "picture.png": Target(_picture("PNG"), lambda b: _read_picture(b, ".png"), is_text=False),
        "picture.jpg": Target(_picture("JPEG"), lambda b: _read_picture(b, ".jpg"), is_text=False),
        "picture.webp": Target(_picture("WEBP"), lambda b: _read_picture(b, ".webp"), is_text=False),
    }


def _in_a_folder(name: str, content: bytes, read: Callable[[Path], object]) -> object:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(content)
        return read(Path(folder))


def _checkpoint_files() -> dict[str, bytes]:
    config, spec = PRESETS["tiny"]
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Checkpoint(config=config, input_spec=spec, weights=init_weights(config, 0)), folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def _file_of(files: Mapping[str, bytes], name: str) -> Target:
    """One file of a checkpoint's folder, the others being whole."""

    def read(content: bytes) -> object:
        def load(folder: Path) -> object:
            for other in files.keys() - {name}:
                (folder / other).write_bytes(files[other])
            return load_checkpoint(folder)

        return _in_a_folder(name, content, load)

    return Target(files[name], read, is_text=name.endswith(".json"))


def _perceiver_io() -> Target:
    values = {
        "model": "PerceiverIO", "depth": 1, "dim": 6, "num_latents": 4, "latent_dim": 8, "cross_heads": 2,
        "latent_heads": 2, "cross_dim_head": 4, "latent_dim_head": 4, "queries_dim": 5, "logits_dim": 3,
        "num_queries": 7, "input_shape": [9],
    }  # fmt: skip
    config, _ = parse_config(values)
    assert isinstance(config, PerceiverIOConfig)
    weights = {name: np.ones(shape, np.float32) for name, shape in perceiver_io_shapes(config).items()}
    return _file_of({"config.json": json.dumps(values).encode(), "model.safetensors": save(weights)}, "config.json")


def _huggingface(name: str) -> Target:
    values = {
        "model_type": "perceiver", "architectures": ["PerceiverForImageClassificationFourier"], "num_latents": 4,
        "d_latents": 8, "d_model": 261, "num_blocks": 1, "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2, "num_cross_attention_heads": 1, "id2label": {"0": "cat", "1": "dog"},
    }  # fmt: skip
    processor = {"image_mean": [0.485, 0.456, 0.406], "size": 224, "crop_size": {"height": 256}, "do_resize": True}
    weights = {n: np.ones(s, np.float32) for n, s in huggingface_shapes(parse_huggingface_config(values)).items()}
    texts = {"config.json": values, "preprocessor_config.json": processor}
    files = {name: json.dumps(value).encode() for name, value in texts.items()} | {"model.safetensors": save(weights)}
    return _file_of(files, name)


def _ranges() -> Ranges:
    return Ranges(
        points={f"layers.{i}.up.{side}": Range(-1.5 * i, 2.25) for i in range(4) for side in ("input", "output")},
        cores={}, method="minmax", num_samples=5, source="photographs", is_random=False,
        digests=frozenset({bytes(range(16))}), fingerprint="ab" * 32,
    )  # fmt: skip


def _read_ranges(content: bytes) -> object:
    try:
        text = content.decode()
    except UnicodeDecodeError:  # whoever reads the file has told that
        return None
    return Ranges.from_json(text, where="it")


def _manifest() -> Manifest:
    from perceiver_edge.bundle.manifest import Artefact, FileRecord, TensorSpec

    config, spec = PRESETS["tiny"]
    tensor = TensorSpec(name="input", shape=(1, 16, 16, 3), dtype="float32")
    artefact = Artefact(
        size_bytes=3, sha256="ab" * 32, format="onnx", precision="int8", inputs=(tensor,), outputs=(tensor,),
        census={"int8_gemm_share": 1.0},
    )  # fmt: skip
    return Manifest(
        name="tiny", config=config, input_spec=spec, weights_fingerprint="ab" * 32, is_random_weights=True,
        calibration=None, lowering=(Decision("rule", True, "because"),), unshared_points={"onnx": ("a",)},
        artefacts={"tiny_int8.onnx": artefact}, tools={"numpy": "2.0"}, notices=("a sentence.",),
        files={"README.md": FileRecord(size_bytes=1, sha256="cd" * 32)},
    )  # fmt: skip


def _parity() -> ParityReport:
    reference = np.random.default_rng(0).normal(size=(8, 4))
    judgement = judge(reference, reference * 1.01, gates=Gates.for_precision("int8"), is_classifier=True)
    artefact = ArtefactParity(name="a.onnx", engine="onnxruntime", precision="int8", judgement=judgement)
    return ParityReport(
        artefacts=(artefact,), num_samples=8, samples_source="them", is_random_weights=False, is_random_data=False
    )


def _read_parity(content: bytes) -> object:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):  # `Bundle` tells that
        return None
    return ParityReport.from_dict(values)


def _held_out() -> HeldOut:
    return HeldOut(
        inputs={"input": SAMPLES}, reference=SAMPLES.reshape(5, -1)[:, :7], labels=np.arange(5), source="them",
        is_random=False,
    )  # fmt: skip


def _torch() -> Target:
    import torch

    config, _ = PRESETS["tiny"]
    state = {name: torch.from_numpy(weight) for name, weight in init_weights(config, 0).items()}
    file = io.BytesIO()
    torch.save(state, file)
    values = {**config.to_dict(), "input_shape": [16, 16]}

    def read(content: bytes) -> object:
        return _in_a_folder("weights.pt", content, lambda folder: load_checkpoint(folder / "weights.pt", config=values))

    return Target(file.getvalue(), read, is_text=False)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _labels(content: bytes, name: str) -> object:
    return _in_a_folder(name, content, lambda folder: read_labels(folder / name))


def _read_answers(content: bytes) -> object:
    return _in_a_folder(
        "reference.npz", content, lambda folder: read_answers(folder / "reference.npz", sample_shape=SHAPE)
    )


def _read_samples(content: bytes, suffix: str) -> object:
    return _in_a_folder(
        f"x{suffix}", content, lambda folder: sum(1 for _ in open_source(str(folder / f"x{suffix}"), shape=SHAPE))
    )


def _picture(kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((SAMPLES[0].repeat(8, 0).repeat(8, 1) * 255).astype(np.uint8)).save(file, kind)
    return file.getvalue()


def _read_picture(content: bytes, suffix: str) -> object:
    return _in_a_folder(f"x{suffix}", content, lambda folder: next(iter(open_source(str(folder), shape=SHAPE))))
