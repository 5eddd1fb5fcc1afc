"""The whole compilation: the stages of docs/architecture.md, in order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perceiver_edge.artefacts import FORMATS, Kind, build, planned_kinds
from perceiver_edge.bundle import Bundle, publish, read_bundle, require_writable
from perceiver_edge.calibration import Ranges, Samples, observe
from perceiver_edge.describe import describe
from perceiver_edge.held_out import HeldOut, ask_reference
from perceiver_edge.latency import Latencies, default_threads, measure_latency
from perceiver_edge.manifest import Manifest, seal
from perceiver_edge.models import NamedModel, resolve_model
from perceiver_edge.parity import Gates, ParityFailure, ParityReport
from perceiver_edge.progress import Progress, silent
from perceiver_edge.proof import layer_reference, prove
from perceiver_edge.report import render_model_card, render_report
from perceiver_edge.representative import NUM_CALIBRATION, choose_samples, read_ranges

if TYPE_CHECKING:
    from perceiver_edge.checkpoints import Checkpoint
    from perceiver_edge.deployment import Deployment
    from perceiver_edge.model import Perceiver

DEFAULT_OPSET = 18


def compile(  # noqa: A001 - the verb of this package, always used as perceiver_edge.compile
    model: str | os.PathLike[str] | Checkpoint | Perceiver = "digits",
    *,
    quantize: str = "int8",
    samples: object = None,
    calibration: Ranges | str | os.PathLike[str] | None = None,
    method: str = "minmax",
    num_samples: int = NUM_CALIBRATION,
    num_held_out: int | None = None,
    gates: Mapping[str, float] | None = None,
    name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    batch: int = 1,
    with_mask: bool = False,
    formats: tuple[str, ...] = FORMATS,
    only: bool = False,
    opset: int = DEFAULT_OPSET,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Bundle:
    """Compile a Perceiver into proven artefacts and publish them as a bundle.

    Args:
        model: a name, a folder, a `Checkpoint` or a Keras `Perceiver`; see `models.resolve_model`.
        quantize: ``none``, ``fp16``, ``dynamic`` or ``int8``.
        samples: representative data: an array ``[n, *axes, channels]``, an iterable of samples, or what
            ``--calibration-data`` takes. Some calibrate; others, never the same, prove. None: the embedded data.
        calibration: ranges from an earlier ``calibration.json``, instead of observing.
        method: ``minmax``, ``percentile`` or ``mse``.
        gates: parity bounds to change, by name (`parity.Gates`).
        input_shape: sizes of the input axes the artefacts are made for.
        with_mask: give the artefacts a second, boolean input ``mask``.
        only: leave out the float32 peers.
        output: the bundle's folder; by default ``build/<name>``.

    Raises:
        BadInputError: anything that cannot be used as it is; nothing was written.
        ConversionError: an artefact came out other than asked for.
        ParityFailure: a gate failed; nothing was published, and the exception carries the report.
    """
    kinds = planned_kinds(quantize=quantize, formats=formats, only=only)
    bounds = {kind.precision: Gates.for_precision(kind.precision).with_overrides(gates or {}) for kind in kinds}
    source = resolve_model(model, name=name, input_shape=input_shape, seed=seed)
    destination = Path(output) if output is not None else Path("build") / source.name
    require_writable(destination, overwrite=overwrite)
    with progress("read samples"):
        calibrating, proving = choose_samples(
            source, samples, num_calibration=num_samples, num_held_out=num_held_out, seed=seed
        )
    with progress("lower and trace"):
        from perceiver_edge.deployment import deploy

        deployment = deploy(source, batch=batch, with_mask=with_mask)
    ranges = None
    if quantize == "int8":
        ranges = _ranges(source, deployment, calibrating, calibration, method, progress)
    with progress("convert"):
        artefacts = build(deployment.traced, kinds, ranges=ranges and ranges.points, opset=opset)
    with progress("take stock of operators"):
        manifest = describe(source, artefacts, decisions=deployment.decisions, ranges=ranges)
    with progress("run the float reference", len(proving)) as advance:
        held_out = ask_reference(source.checkpoint, proving, on_progress=advance)
    parity = _prove(source, artefacts, held_out, deployment, bounds, gates or {}, progress)
    if not parity.passed:
        raise ParityFailure(parity)
    models = {kind.file_name(source.name): content for kind, content in artefacts.items()}
    with progress("measure latency"):
        latency = measure_latency(models, held_out, threads=threads or default_threads())
    with progress("publish"):
        files = models | _documents(manifest, parity, latency, held_out, ranges)
        publish(seal(manifest, files), destination, overwrite=overwrite)
    return read_bundle(destination)


def _ranges(
    model: NamedModel,
    deployment: Deployment,
    samples: Samples,
    given: Ranges | str | os.PathLike[str] | None,
    method: str,
    progress: Progress,
) -> Ranges:
    if given is not None:
        return read_ranges(given, model, deployment.point_names)
    with progress("calibrate", len(samples)) as advance:
        points = observe(deployment.taps, samples, method=method, on_progress=advance)
    return Ranges(
        points=points, method=method, num_samples=len(samples), source=samples.description,
        is_random=samples.is_random, fingerprint=model.checkpoint.fingerprint,
    )  # fmt: skip


def _prove(
    model: NamedModel,
    artefacts: Mapping[Kind, bytes],
    held_out: HeldOut,
    deployment: Deployment,
    bounds: Mapping[str, Gates],
    overrides: Mapping[str, float],
    progress: Progress,
) -> ParityReport:
    with progress("prove", len(artefacts)) as advance:
        layers = layer_reference(deployment.taps, held_out)
        proven = []
        for done, (kind, content) in enumerate(artefacts.items(), start=1):
            proven.append(
                prove(
                    kind.file_name(model.name), content, held_out,
                    precision=kind.precision, gates=bounds[kind.precision], layer_reference=layers,
                    is_classifier=model.checkpoint.config.final_classifier_head,
                )
            )  # fmt: skip
            advance(done)
    return ParityReport(
        artefacts=tuple(proven), num_samples=len(held_out), samples_source=held_out.source,
        is_random_weights=model.is_random_weights, is_random_data=held_out.is_random, gate_overrides=dict(overrides),
    )  # fmt: skip


def _documents(
    manifest: Manifest, parity: ParityReport, latency: Latencies, held_out: HeldOut, ranges: Ranges | None
) -> dict[str, bytes]:
    """Everything in a bundle that is not a model."""
    words = {"latency": latency.artefacts, "device": f"{latency.device}, {latency.threads} threads"}
    documents = {
        "parity.json": json.dumps(parity.to_dict(), indent=1, allow_nan=False) + "\n",
        "latency.json": json.dumps(latency.to_dict(), indent=1) + "\n",
        "report.html": render_report(manifest, parity, **words),
        "README.md": render_model_card(manifest, parity, **words),
    }
    if ranges is not None:
        documents["calibration.json"] = ranges.to_json()
    return {name: text.encode() for name, text in documents.items()} | {"held_out.npz": held_out.to_bytes()}
