"""The whole compilation: the stages of docs/architecture.md, in order."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from perceiver_edge.bundle.folder import Bundle, publish, read_bundle
from perceiver_edge.bundle.manifest import Manifest, seal
from perceiver_edge.bundle.report import render_model_card, render_report
from perceiver_edge.cache import Cache, default_folder
from perceiver_edge.calibration import DEFAULT_METHOD, Ranges
from perceiver_edge.compiler.artefacts import FORMATS, Kind, build
from perceiver_edge.compiler.cores import calibrate, given_cores
from perceiver_edge.compiler.describe import describe
from perceiver_edge.compiler.job import OPSETS, Job, Options, prepare
from perceiver_edge.compiler.representative import NUM_CALIBRATION
from perceiver_edge.lowering import Decision
from perceiver_edge.measure.latency import Latencies, measure_latency
from perceiver_edge.memory import give_back_memory
from perceiver_edge.progress import Progress, Stage, silent
from perceiver_edge.proof.gates import ParityError, ParityReport
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut, ask_reference
from perceiver_edge.proof.prove import layer_reference, prove
from perceiver_edge.provenance import provenance

if TYPE_CHECKING:
    import numpy as np

    from perceiver_edge.checkpoints import Checkpoint
    from perceiver_edge.compiler.deployment import Deployment
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
    optimize_for: str = "latency",
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    seed: int = 0,
    cache: bool = True,
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
        gates: parity bounds to change, by name (`perceiver_edge.proof.gates.Gates`), for the precision asked for.
        name: of the bundle and its files.
        input_shape: sizes of the input axes the artefacts are made for; ``batch`` their fixed batch size.
        with_mask: give the artefacts a second, boolean input ``mask`` ``[batch, *axes]``; the samples must have one.
        formats: ``tflite``, ``onnx`` or both.
        only: leave out the float32 peers.
        opset: of the ONNX models, 18 to 20.
        optimize_for: ``latency``, or ``memory``: attend to tokens in chunks, also where softmax is in float.
        output: the bundle's folder, by default ``build/<name>``; ``overwrite`` replaces the bundle that is there.
        threads: for proving and for the latency measurement; by default all processors, at most 4.
        seed: draws samples, and the weights of a preset without weights.
        cache: take what earlier runs made of the same inputs, and keep what this one makes (`perceiver_edge.cache`).

    Raises:
        BadInputError: anything that cannot be used as it is; nothing was written.
        ConversionError: an artefact came out other than asked for; nothing was written.
        ParityError: a gate failed; nothing was published, and the exception carries the report.
    """
    options = Options(
        quantize=quantize, samples=samples, calibration=calibration, method=method, num_samples=num_samples,
        num_held_out=num_held_out, gates=gates or {}, name=name, input_shape=input_shape, batch=batch,
        with_mask=with_mask, formats=formats, only=only, opset=opset, optimize_for=optimize_for, output=output,
        overwrite=overwrite, threads=threads, seed=seed, cache=cache,
    )  # fmt: skip
    return run(prepare(model, options), progress=progress)


def run(job: Job, *, progress: Progress = silent, warn: Callable[[str], None] = warnings.warn) -> Bundle:
    """Run a prepared compilation. ``warn`` is told what is no error. Raises as `compile` does."""
    options, model = job.options, job.model
    folder = default_folder() if options.cache else None
    cache = Cache(folder, [provenance(), model.fingerprint], warn=warn)
    with progress("lower and trace"):
        from perceiver_edge.compiler.deployment import deploy

        deployment = deploy(
            model, batch=options.batch, with_mask=options.with_mask, optimize_for=options.optimize_for
        )  # fmt: skip
    ranges, decisions = None, deployment.decisions
    if options.quantize == "int8":
        ranges, decision = _ranges(job, deployment, cache, progress)
        decisions += (decision,)
    with _cached_stage(cache, progress, "convert"):
        artefacts = build(
            deployment.traced, job.kinds, opset=options.opset, cache=cache,
            integer_form=functools.partial(deployment.integer_form, ranges) if ranges else None,
            trace_key=options.optimize_for, integer_key=ranges.to_json() if ranges else None,
        )  # fmt: skip
    with progress("take stock of operators"):
        give_back_memory()
        manifest = describe(model, artefacts, decisions=decisions, ranges=ranges)
    with _cached_stage(cache, progress, "run the float reference", len(job.proving)) as stage:
        held_out = ask_reference(
            model.checkpoint, job.proving, with_mask=options.with_mask, on_progress=stage, cache=cache
        )  # fmt: skip
    with progress("prove", len(artefacts)) as stage:
        layers = layer_reference(deployment.taps, held_out)
        parity = _prove(job, artefacts, held_out, layers, stage)
    if not parity.passed:
        raise ParityError(parity, outcome="nothing was published")
    models = {kind.file_name(model.name): content for kind, content in artefacts.items()}
    with progress("measure latency"):
        give_back_memory()
        latency = measure_latency(models, held_out, threads=options.num_threads)
    with progress("publish"):
        files = models | _documents(manifest, parity, latency, held_out, ranges)
        publish(seal(manifest, files), job.destination, overwrite=options.overwrite)
    return read_bundle(job.destination)


@contextmanager
def _cached_stage(cache: Cache, progress: Progress, title: str, total: int | None = None) -> Iterator[Stage]:
    """A stage all of whose results may come from the cache."""
    with progress(title, total) as stage:
        misses = cache.misses
        yield stage
        stage.is_cached = cache.misses == misses


def _ranges(job: Job, deployment: Deployment, cache: Cache, progress: Progress) -> tuple[Ranges, Decision]:
    """The ranges, and which cores they let run in int8."""
    if job.ranges is not None:
        job.ranges.require_points(deployment.point_names)  # of this model: `read_ranges` saw to that
        job.ranges.require_cores(deployment.core_rows)
        return job.ranges, given_cores(job.ranges.cores)
    method, samples, options = job.options.method or DEFAULT_METHOD, job.calibrating, job.options
    digests = [digest.hex() for digest in samples.digests.values()]
    with _cached_stage(cache, progress, "calibrate", len(samples)) as stage:

        def observed() -> bytes:
            points, cores, decision = calibrate(
                deployment.survey, deployment.losses, samples, method=method, on_progress=stage
            )  # fmt: skip
            ranges = Ranges(
                points=points, cores=cores, method=method, num_samples=len(samples), source=samples.description,
                is_random=samples.is_random, digests=frozenset(samples.digests.values()),
                fingerprint=job.model.fingerprint,
            )  # fmt: skip
            return json.dumps([ranges.to_json(), dataclasses.asdict(decision)]).encode()

        parts = ["ranges", method, digests, samples.description, options.with_mask, options.optimize_for]
        text, decision = json.loads(cache.cached(parts, observed))
    return Ranges.from_json(text), Decision(**decision)


def _prove(
    job: Job, artefacts: Mapping[Kind, bytes], held_out: HeldOut, layers: Mapping[str, np.ndarray], stage: Stage
) -> ParityReport:
    proven = []
    for done, (kind, content) in enumerate(artefacts.items(), start=1):
        give_back_memory()  # engines hold a model several times over while they load it
        proven.append(
            prove(
                kind.file_name(job.model.name), content, held_out,
                precision=kind.precision, gates=job.gates[kind.precision], layer_reference=layers,
                threads=job.options.num_threads, is_classifier=job.model.checkpoint.config.final_classifier_head,
            )
        )  # fmt: skip
        stage(done)
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
