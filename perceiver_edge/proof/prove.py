"""Prove artefacts: load each from its bytes, run it in its engine on held-out samples, judge it, find its errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perceiver_edge.converters.points import quantised_points
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.proof.inside import look_inside
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.layers import ExpectLayers, LayerError, WorstLayer, layer_errors, worst_layer
from perceiver_edge.proof.parity import ArtefactParity
from perceiver_edge.runtime import Runner, load


def prove(
    name: str,
    model: bytes,
    held_out: HeldOut,
    *,
    precision: str,
    gates: Gates,
    is_classifier: bool,
    layer_reference: Mapping[str, np.ndarray],
    expect_layers: ExpectLayers | None = None,
    proven_layer: WorstLayer | None = None,
    threads: int | None = None,
) -> ArtefactParity:
    """Hold one artefact to its gates.

    Args:
        layer_reference: the float model's site outputs, of `inside.layer_reference` or `Inside.rows` of a float32 peer;
            empty for no errors by layer.
        expect_layers: the model of the artefact's integers, where there is one.
        proven_layer: what was found with it when this very file was made, where it is not here.
    """
    runner = load(model, threads=threads)
    batch_size, engine = runner.batch_size, runner.engine
    answers = outputs(runner, held_out)
    del runner  # a probe is the same model once more
    layers: tuple[LayerError, ...] = ()
    if layer_reference or expect_layers is not None:
        inside = look_inside(model, held_out, batch_size=batch_size, expect=expect_layers, threads=threads)
        if inside.own_errors:
            proven_layer = worst_layer(inside.own_errors)
        if layer_reference:
            layers = layer_errors(layer_reference, inside.rows, own=inside.own_errors)
    judgement = judge(
        held_out.reference, answers, gates=gates, is_classifier=is_classifier,
        labels=held_out.labels, output_step=output_step(model), worst_layer=proven_layer,
    )  # fmt: skip
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
