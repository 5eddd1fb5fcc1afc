"""The whole compilation: the stages of docs/architecture.md, in order."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from perceiver_edge.artefacts import FORMATS, Kind, build
from perceiver_edge.bundle import Bundle, publish, read_bundle
from perceiver_edge.calibration import DEFAULT_METHOD, Ranges, give_room, observe
from perceiver_edge.describe import describe
from perceiver_edge.held_out import HELD_OUT_NAME, HeldOut, ask_reference
from perceiver_edge.job import OPSETS, Job, Options, prepare
from perceiver_edge.latency import Latencies, measure_latency
from perceiver_edge.manifest import Manifest, seal
from perceiver_edge.parity import ParityError, ParityReport
from perceiver_edge.progress import Progress, silent
from perceiver_edge.proof import layer_reference, prove
from perceiver_edge.report import render_model_card, render_report
from perceiver_edge.representative import NUM_CALIBRATION

if TYPE_CHECKING:
    from perceiver_edge.checkpoints import Checkpoint
    from perceiver_edge.deployment import Deployment
    from perceiver_edge.model import Perceiver


def compile(
    model: str | os.PathLike[str] | Checkpoint | Perceiver = "digits",
    *,
    quantize: str = "int8",
    samples: object = None,
    calibration: Ranges | str | os.PathLike[str] | None = None,
    method: str | None = None,
    num_samples: int = NUM_CALIBRATION,
    num_held_out: int | None = None,
    gates: Mapping[str, float] | None = None,
    name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    batch: int = 1,
    with_mask: bool = False,
    formats: tuple[str, ...] = FORMATS,
    only: bool = False,
    opset: int = OPSETS.start,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Bundle:
    """Compile a Perceiver into proven artefacts and publish them as a bundle.

    Args:
        model: a name (``digits``, a preset of `config.PRESETS`), a folder, a `Checkpoint` or a Keras `Perceiver`.
        quantize: ``none``, ``fp16``, ``dynamic`` or ``int8``.
        samples: representative data: an array ``[n, *axes, channels]``, an iterable of samples, or what
            ``--calibration-data`` takes. Some calibrate; others, never the same, prove. None: the embedded data.
        calibration: ranges from an earlier ``calibration.json``, instead of observing.
        method: how ranges are chosen: ``minmax`` (the default), ``percentile`` or ``mse``.
        num_samples: to calibrate with. ``num_held_out``: to prove with (64, or all of the embedded test split).
        gates: parity bounds to change, by name (`perceiver_edge.parity.Gates`), for the precision asked for.
        name: of the bundle and its files.
        input_shape: sizes of the input axes the artefacts are made for; ``batch`` their fixed batch size.
        with_mask: give the artefacts a second, boolean input ``mask`` ``[batch, *axes]``; the samples must have one.
        formats: ``tflite``, ``onnx`` or both.
        only: leave out the float32 peers.
        opset: of the ONNX models, 18 to 20.
        output: the bundle's folder, by default ``build/<name>``; ``overwrite`` replaces the bundle that is there.
        threads: for proving and for the latency measurement; by default all processors, at most 4.
        seed: draws samples, and the weights of a preset without weights.

    Raises:
        BadInputError: anything that cannot be used as it is; nothing was written.
        ConversionError: an artefact came out other than asked for; nothing was written.
        ParityError: a gate failed; nothing was published, and the exception carries the report.
    """
    options = Options(
        quantize=quantize, samples=samples, calibration=calibration, method=method, num_samples=num_samples,
        num_held_out=num_held_out, gates=gates or {}, name=name, input_shape=input_shape, batch=batch,
        with_mask=with_mask, formats=formats, only=only, opset=opset, output=output, overwrite=overwrite,
        threads=threads, seed=seed,
    )  # fmt: skip
    return run(prepare(model, options), progress=progress)


def run(job: Job, *, progress: Progress = silent) -> Bundle:
    """Run a prepared compilation. Raises as `compile` does."""
    options, model = job.options, job.model
    with progress("lower and trace"):
        from perceiver_edge.deployment import deploy

        deployment = deploy(model, batch=options.batch, with_mask=options.with_mask)
    ranges = _ranges(job, deployment, progress) if options.quantize == "int8" else None
    with progress("convert"):
        artefacts = build(deployment.traced, job.kinds, ranges=ranges.points if ranges else None, opset=options.opset)
    with progress("take stock of operators"):
        manifest = describe(model, artefacts, decisions=deployment.decisions, ranges=ranges)
    with progress("run the float reference", len(job.proving)) as advance:
        held_out = ask_reference(
            model.checkpoint, job.proving, with_mask=options.with_mask, on_progress=advance
        )  # fmt: skip
    parity = _prove(job, artefacts, held_out, deployment, progress)
    if not parity.passed:
        raise ParityError(parity, outcome="nothing was published")
    models = {kind.file_name(model.name): content for kind, content in artefacts.items()}
    with progress("measure latency"):
        latency = measure_latency(models, held_out, threads=options.num_threads)
    with progress("publish"):
        files = models | _documents(manifest, parity, latency, held_out, ranges)
        publish(seal(manifest, files), job.destination, overwrite=options.overwrite)
    return read_bundle(job.destination)


def _ranges(job: Job, deployment: Deployment, progress: Progress) -> Ranges:
    if job.ranges is not None:
        job.ranges.require_points(deployment.point_names)  # of this model: `read_ranges` saw to that
        return job.ranges
    method = job.options.method or DEFAULT_METHOD
    with progress("calibrate", len(job.calibrating)) as advance:
        points = give_room(
            observe(deployment.taps, job.calibrating, method=method, on_progress=advance)
        )  # fmt: skip
    return Ranges(
        points=points, method=method, num_samples=len(job.calibrating),
        source=job.calibrating.description, is_random=job.calibrating.is_random,
        digests=frozenset(job.calibrating.digests.values()), fingerprint=job.model.fingerprint,
    )  # fmt: skip


def _prove(
    job: Job,
    artefacts: Mapping[Kind, bytes],
    held_out: HeldOut,
    deployment: Deployment,
    progress: Progress,
) -> ParityReport:
    with progress("prove", len(artefacts)) as advance:
        layers = layer_reference(deployment.taps, held_out)
        proven = []
        for done, (kind, content) in enumerate(artefacts.items(), start=1):
            proven.append(
                prove(
                    kind.file_name(job.model.name), content, held_out,
                    precision=kind.precision, gates=job.gates[kind.precision], layer_reference=layers,
                    threads=job.options.num_threads, is_classifier=job.model.checkpoint.config.final_classifier_head,
                )
            )  # fmt: skip
            advance(done)
    return ParityReport(
        artefacts=tuple(proven), num_samples=len(held_out), samples_source=held_out.source,
        is_random_weights=job.model.is_random_weights, is_random_data=held_out.is_random,
        gate_overrides=dict(job.options.gates),
    )  # fmt: skip


def _documents(
    manifest: Manifest, parity: ParityReport, latency: Latencies, held_out: HeldOut, ranges: Ranges | None
) -> dict[str, bytes]:
    """Everything in a bundle that is not a model."""
    measured, device = latency.artefacts, f"{latency.device}, {latency.threads} threads"
    documents = {
        "parity.json": json.dumps(parity.to_dict(), indent=1, allow_nan=False) + "\n",
        "latency.json": json.dumps(latency.to_dict(), indent=1) + "\n",
        "report.html": render_report(manifest, parity, latency=measured, device=device),
        "README.md": render_model_card(manifest, parity, latency=measured, device=device),
    }
    if ranges is not None:
        documents["calibration.json"] = ranges.to_json()
    return {name: text.encode() for name, text in documents.items()} | {HELD_OUT_NAME: held_out.to_bytes()}
