"""Prove artefacts: load each from its bytes, run it in its engine on held-out samples, judge it, find its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from perceiver_edge.converters.points import observable_outputs, quantised_points
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.layers import LayerError, layer_errors
from perceiver_edge.proof.parity import ArtefactParity
from perceiver_edge.runtime import Runner, load, probe

LAYER_SAMPLES = 4
"""Held-out samples that errors by layer are measured on: enough to rank layers, and probing is slow."""

LAYER_ROWS = 32
"""Rows (latents, or tokens) of each layer's output that its error is measured on, evenly spaced, per sample. All of
them would be 1.5 GB a sample for the paper's model."""


def prove(
    name: str,
    model: bytes,
    held_out: HeldOut,
    *,
    precision: str,
    gates: Gates,
    is_classifier: bool,
    layer_reference: Mapping[str, np.ndarray],
    threads: int | None = None,
) -> ArtefactParity:
    """Hold one artefact to its gates.

    Args:
        layer_reference: the float model's site outputs, of `layer_reference` or of a float32 peer's `layer_outputs`;
            empty for no errors by layer.
    """
    runner = load(model, threads=threads)
    batch_size, engine = runner.batch_size, runner.engine
    answers = outputs(runner, held_out)
    judgement = judge(
        held_out.reference, answers, gates=gates, is_classifier=is_classifier,
        labels=held_out.labels, output_step=output_step(model),
    )  # fmt: skip
    del runner  # a probe is the same model once more
    layers: tuple[LayerError, ...] = ()
    if layer_reference:
        layers = layer_errors(layer_reference, layer_outputs(model, held_out, batch_size=batch_size, threads=threads))
    return ArtefactParity(
        name=name, engine=engine, precision=precision, judgement=judgement, layers=layers,
        classes=tuple(answers.argmax(axis=1).tolist()) if is_classifier else (),
    )  # fmt: skip


def output_step(model: bytes) -> float:
    """The scale of a statically quantised classifier's logits; 0 where they are float."""
    scale, _ = quantised_points(model).get("classifier.output", (0.0, 0))
    return scale


def outputs(runner: Runner, held_out: HeldOut) -> np.ndarray:
    """The artefact's output for every held-out sample, ``[samples, ...]``."""
    return np.asarray(runner.batch(held_out.inputs))


def layer_outputs(
    model: bytes, held_out: HeldOut, *, batch_size: int, threads: int | None = None
) -> dict[str, np.ndarray]:
    """Each site's output, and the model's, for the first samples: ``[samples * rows, channels]``, see `LAYER_ROWS`."""
    tensors = observable_outputs(model)
    count = min(LAYER_SAMPLES, len(held_out))
    read = probe(model, list(tensors.values()), threads=threads)
    collected: dict[str, list[np.ndarray]] = {name: [] for name in tensors}
    for start in range(0, count, batch_size):
        values = read(held_out.batch(start, batch_size))
        used = min(batch_size, count - start)
        for name, tensor in tensors.items():
            samples = values[tensor].reshape(batch_size, -1, values[tensor].shape[-1])
            collected[name] += map(_some_rows, samples[:used])
    return {name: np.concatenate(rows) for name, rows in collected.items()}


def layer_reference(
    taps: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]], held_out: HeldOut
) -> dict[str, np.ndarray]:
    """The float model's site outputs for the samples that `layer_outputs` reads, in order of execution.

    Args:
        taps: feeds of batch 1 → activations by quantisation point.
    """
    collected: dict[str, list[np.ndarray]] = {}
    for index in range(min(LAYER_SAMPLES, len(held_out))):
        for name, values in taps(held_out.batch(index, 1)).items():
            if name.endswith(".output"):
                collected.setdefault(name, []).append(_some_rows(values))
    return {name: np.concatenate(rows) for name, rows in collected.items()}


def _some_rows(rows: np.ndarray) -> np.ndarray:
    """About `LAYER_ROWS` of the rows ``[rows, channels]`` of one sample, or all where there are few; copied."""
    return rows[:: max(1, len(rows) // LAYER_ROWS)].copy()
