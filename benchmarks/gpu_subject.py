"""What the GPU benchmark measures: a preset with random weights, its artefacts for one batch size, its reference."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from perceiver_edge.compiler.artefacts import Kind, build
from perceiver_edge.compiler.representative import choose_samples
from perceiver_edge.compiler.resolve import NamedModel, resolve_model
from perceiver_edge.progress import Progress
from perceiver_edge.proof.held_out import HeldOut, ask_reference
from perceiver_edge.provenance import provenance

WORK = Path("build") / "gpu"
KINDS = (Kind("onnx", "fp32"), Kind("onnx", "fp16"), Kind("tflite", "fp16"))
SEED, OPSET = 0, 18


@dataclass(frozen=True, eq=False)
class Subject:
    """``artefacts``: their bytes, for calls of ``batch`` samples. ``held_out``: what the float32 reference answers."""

    model: NamedModel
    batch: int
    artefacts: dict[Kind, bytes]
    held_out: HeldOut


def make_subject(preset: str, *, batch: int, samples: str, num_samples: int, progress: Progress) -> Subject:
    """Convert the preset and ask the reference, or read from `WORK` what an earlier run made of the same.

    Args:
        samples: a folder of photographs, or ``random``.

    Raises:
        BadInputError: no such preset, or unusable samples.
    """
    model = resolve_model(preset, seed=SEED)
    key = (model.checkpoint.fingerprint, model.sample_shape, samples, num_samples, provenance())
    folder = WORK / f"{preset}_{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    held_out = _held_out(model, folder / "held_out.npz", samples, num_samples, progress)
    files = {kind: folder / f"batch{batch}_{kind.file_name(preset)}" for kind in KINDS}
    if not all(file.exists() for file in files.values()):
        with progress(f"convert {preset} for a batch of {batch}"):
            _convert(model, batch, files)
    return Subject(model, batch, {kind: file.read_bytes() for kind, file in files.items()}, held_out)


def _held_out(model: NamedModel, file: Path, samples: str, num_samples: int, progress: Progress) -> HeldOut:
    if not file.exists():
        _, proving = choose_samples(model, samples, num_calibration=1, num_held_out=num_samples, seed=SEED)
        with progress(f"run the float reference of {model.name}", len(proving)) as advance:
            answered = ask_reference(model.proven_against, proving, with_mask=False, on_progress=advance)
        _write(file, answered.to_bytes())
    return HeldOut.from_bytes(file.read_bytes(), where=file)


def _convert(model: NamedModel, batch: int, files: dict[Kind, Path]) -> None:
    from perceiver_edge.compiler.deployment import deploy

    traced = deploy(model, batch=batch, with_mask=False).half_traced()  # what GPUs compute best
    made = build(traced, KINDS, half_traced=lambda: traced, integer_form=None, product_inputs=dict, opset=OPSET)
    for kind, file in files.items():
        _write(file, made[kind])


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all: a run that is stopped leaves nothing that the next one would take."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_bytes(content)
    partial.replace(file)
