"""The whole compilation: the stages of docs/architecture.md, in order."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec

from perceiver_edge.bundle.app_code import LABELS_NAME, labels_text
from perceiver_edge.bundle.card import render_model_card
from perceiver_edge.bundle.folder import Bundle, publish, read_bundle
from perceiver_edge.bundle.manifest import Manifest, seal
from perceiver_edge.bundle.report import render_report
from perceiver_edge.cache import Cache, default_folder
from perceiver_edge.calibration import DEFAULT_METHOD, Ranges
from perceiver_edge.calibration.product_inputs import product_inputs
from perceiver_edge.compiler.artefacts import Kind, build, rounding_decision
from perceiver_edge.compiler.cores import calibrate, given_cores
from perceiver_edge.compiler.describe import describe
from perceiver_edge.compiler.head import HeadObserver, decide_head, float_sites, without_head
from perceiver_edge.compiler.import_check import compare_with_source
from perceiver_edge.compiler.job import Job, prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.compiler.row_choice import choose_rows
from perceiver_edge.compiler.rows import given_rows
from perceiver_edge.config import HuggingFaceConfig
from perceiver_edge.errors import counted
from perceiver_edge.lowering import Decision
from perceiver_edge.measure.latency import Latencies, measure_latency
from perceiver_edge.memory import give_back_memory
from perceiver_edge.progress import Progress, Stage
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut, ask_reference
from perceiver_edge.proof.inside import layer_reference
from perceiver_edge.proof.layers import ExpectLayers
from perceiver_edge.proof.outputs import task_of
from perceiver_edge.proof.parity import ParityError, ParityReport
from perceiver_edge.proof.prove import prove
from perceiver_edge.provenance import provenance
from perceiver_edge.runtime.isolated import require_survivable

if TYPE_CHECKING:
    import numpy as np

    from perceiver_edge.compiler.deployment import Deployment


_P = ParamSpec("_P")


def _called_as(options: Callable[_P, Options]) -> Callable[[Callable[[Options], Bundle]], Callable[_P, Bundle]]:
    """Lets a function of `Options` be called with what makes them, so that no option is declared twice."""

    def decorate(function: Callable[[Options], Bundle]) -> Callable[_P, Bundle]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Bundle:
            return function(options(*args, **kwargs))

        call.__signature__ = inspect.signature(options).replace(return_annotation=Bundle)  # type: ignore[attr-defined]
        assert function.__doc__ is not None
        call.__doc__ = function.__doc__.replace("    Raises:", f"    Args:\n{_explained()}\n\n    Raises:")
        return call

    return decorate


def _explained() -> str:
    flags = {option.name: option.metadata["flag"].help for option in dataclasses.fields(Options)}
    return "\n".join(f"        {name}: {text}." for name, text in flags.items())


@_called_as(Options)
def compile(options: Options) -> Bundle:
    """Compile a Perceiver into proven artefacts and publish them as a bundle.

    Raises:
        BadInputError: anything that cannot be used as it is; nothing was written.
        ConversionError: an artefact came out other than asked for; nothing was written.
        ParityError: a gate failed; nothing was published, and the exception carries the report.
    """
    job = prepare(options)
    for notice in job.notices:
        warnings.warn(notice, stacklevel=3)  # where `compile` was called
    return run(job)


def run(job: Job, *, warn: Callable[[str], None] = warnings.warn) -> Bundle:
    """Run a prepared compilation. ``warn`` is told what is no error. Raises as `compile` does."""
    options, model, progress = job.options, job.model, job.options.progress
    folder = default_folder() if options.cache else None
    cache = Cache(folder, [provenance(), model.fingerprint], warn=warn)
    source = compare_with_source(job)
    with progress("lower and trace"):
        give_back_memory()  # both sides of the comparison
        from perceiver_edge.compiler.deployment import deploy

        deployment = deploy(
            model, batch=options.batch, with_mask=options.with_mask, optimize_for=options.optimize_for
        )  # fmt: skip
    give_back_memory()  # the program in float64
    ranges, decisions = None, deployment.decisions
    if "int8" in options.precisions:
        ranges, more = _ranges(job, deployment, cache, progress)
        decisions += more
    decisions += rounding_decision(job.kinds, len(job.calibrating))
    inputs = functools.cache(lambda: product_inputs(deployment.taps, job.calibrating))
    with _cached_stage(cache, progress, "convert"):
        artefacts = build(
            deployment.traced, job.kinds, half_traced=deployment.half_traced, opset=options.opset, cache=cache,
            integer_form=functools.partial(deployment.integer_form, ranges) if ranges else None,
            product_inputs=inputs,
            trace_key=options.optimize_for, integer_key=ranges.to_json() if ranges else None,
            samples_key=[digest.hex() for digest in job.calibrating.digests.values()],
        )  # fmt: skip
    if job.ranges is not None:  # perhaps edited; an engine may end its process over numbers like 1e30
        with progress("load in a process apart"):
            for kind, content in artefacts.items():
                require_survivable(content, where=kind.file_name(model.name))
    with _cached_stage(cache, progress, "run the float reference", len(job.proving)) as stage:
        held_out = ask_reference(
            model.proven_against, job.proving, with_mask=options.with_mask, on_progress=stage, cache=cache
        )  # fmt: skip
    task = _task(job, held_out)
    with progress("take stock of operators"):
        give_back_memory()
        manifest = describe(
            model, artefacts, decisions=decisions, ranges=ranges, notices=job.notices, source=source, task=task,
            input_range=held_out.input_range,
            float_sites=float_sites(deployment.point_names, ranges.points) if ranges else (),
        )  # fmt: skip
    with progress("prove", len(artefacts)) as stage:
        layers = layer_reference(deployment.taps, held_out)
        parity = _prove(
            job, artefacts, held_out, layers, stage, is_classifier=task == "classification",
            integer_model=functools.partial(deployment.integer_model, ranges, inputs),
        )  # fmt: skip
    if not parity.passed:
        raise ParityError(parity, outcome="nothing was published")
    models = {kind.file_name(model.name): content for kind, content in artefacts.items()}
    with progress("measure latency"):
        give_back_memory()
        latency = measure_latency(models, held_out, threads=options.num_threads)
    with progress("publish"):
        files = models | _documents(manifest, parity, latency, held_out, ranges)
        publish(seal(manifest, files), job.destination, overwrite=options.overwrite)
    bundle = read_bundle(job.destination)
    _ = bundle.parity, bundle.latency  # read before another run can replace them
    return bundle


@contextmanager
def _cached_stage(cache: Cache, progress: Progress, title: str, total: int | None = None) -> Iterator[Stage]:
    """A stage all of whose results may come from the cache."""
    with progress(title, total) as stage:
        misses = cache.misses
        yield stage
        stage.is_cached = cache.misses == misses


def _task(job: Job, held_out: HeldOut) -> str | None:
    """What the outputs are; None for latents."""
    if not job.model.checkpoint.config.is_classifier:
        return None
    return _said_task(job) or task_of(held_out.reference, has_labels=held_out.labels is not None)


def _said_task(job: Job) -> str | None:
    """By the user, else by the model. How far each output varies is chance in a preset without weights: it has one."""
    config = job.model.checkpoint.config
    of_model = config.task if isinstance(config, HuggingFaceConfig) else None
    return job.options.task or of_model or ("classification" if job.model.is_random_weights else None)


def _ranges(job: Job, deployment: Deployment, cache: Cache, progress: Progress) -> tuple[Ranges, tuple[Decision, ...]]:
    """The ranges, and what they let run in int8: which cores, and the last product or not."""
    head = deployment.head
    head_points = [f"{head}.input", f"{head}.output"] if head else []
    if job.ranges is not None:
        job.ranges.require_points(deployment.point_names, optional=head_points)  # of this model, as was checked
        job.ranges.require_cores(deployment.core_rows)
        job.ranges.require_rows(deployment.row_channels, deployment.repeated)
        return job.ranges, (*given_cores(job.ranges, deployment.core_rows), given_rows(job.ranges))
    method, samples, options = job.options.method or DEFAULT_METHOD, job.calibrating, job.options
    digests = [digest.hex() for digest in samples.digests.values()]
    formats = sorted({kind.format for kind in job.kinds if kind.precision == "int8"})
    with _cached_stage(cache, progress, "calibrate", len(samples)) as stage:

        def observed() -> bytes:
            observer = HeadObserver(deployment.survey, f"{head}.output")
            points, cores, core_decisions = calibrate(
                observer.survey, deployment.losses, samples, method=method, repeated=deployment.repeated,
                why_no_core=deployment.why_no_core, on_progress=stage,
            )  # fmt: skip
            head_decision = decide_head(
                observer.outputs, points.get(f"{head}.output"), task=_said_task(job),
                has_labels=samples.labels is not None,
            )  # fmt: skip
            row_layers, rows, row_decision = choose_rows(
                deployment.row_means, deployment.row_extents, deployment.row_losses, samples,
                value_channels={name: of_values for name, (_, of_values) in deployment.row_channels.items()},
                repeated=deployment.repeated, formats=formats,
            )  # fmt: skip
            if head and head_decision.applied:
                points = without_head(points, head)
            ranges = Ranges(
                points=points, cores=cores, method=method, num_samples=len(samples), source=samples.description,
                is_random=samples.is_random, digests=frozenset(samples.digests.values()),
                fingerprint=job.model.fingerprint, row_layers=row_layers, rows=rows,
            )  # fmt: skip
            decisions = [dataclasses.asdict(d) for d in (*core_decisions, row_decision, head_decision)]
            return json.dumps([ranges.to_json(), decisions]).encode()

        parts = ["ranges", method, digests, samples.description, options.with_mask, options.optimize_for]
        parts += [options.task, samples.labels is not None, formats if deployment.row_channels else []]
        text, decisions = json.loads(cache.cached(parts, observed))
    return Ranges.from_json(text), tuple(Decision(**decision) for decision in decisions)


def _prove(
    job: Job,
    artefacts: Mapping[Kind, bytes],
    held_out: HeldOut,
    layers: Mapping[str, np.ndarray],
    stage: Stage,
    *,
    is_classifier: bool,
    integer_model: Callable[[Kind, bytes], ExpectLayers | None],
) -> ParityReport:
    proven = []
    for done, (kind, content) in enumerate(artefacts.items(), start=1):
        give_back_memory()  # engines hold a model several times over while they load it
        proven.append(
            prove(
                kind.file_name(job.model.name), content, held_out,
                precision=kind.precision, gates=job.gates[kind.precision], layer_reference=layers,
                expect_layers=integer_model(kind, content),
                threads=job.options.num_threads, is_classifier=is_classifier,
            )
        )  # fmt: skip
        stage(done)
    return ParityReport(
        artefacts=tuple(proven), num_samples=len(held_out), samples_source=held_out.source,
        is_random_weights=job.model.is_random_weights, is_random_data=held_out.is_random,
        gate_overrides=dict(job.options.gates), num_different=held_out.num_different,
    )  # fmt: skip


def _documents(
    manifest: Manifest, parity: ParityReport, latency: Latencies, held_out: HeldOut, ranges: Ranges | None
) -> dict[str, bytes]:
    """Everything in a bundle that is not a model."""
    measured, device = latency.artefacts, f"{latency.device}, {counted(latency.threads, 'thread')}"
    documents = {
        "parity.json": json.dumps(parity.to_dict(), indent=1, allow_nan=False) + "\n",
        "latency.json": json.dumps(latency.to_dict(), indent=1) + "\n",
        "report.html": render_report(manifest, parity, latency=measured, device=device, held_out=held_out),
        "README.md": render_model_card(manifest, parity, latency=measured, device=device),
    }
    if ranges is not None:
        documents["calibration.json"] = ranges.to_json()
    if labels := labels_text(manifest):
        documents[LABELS_NAME] = labels
    return {name: text.encode() for name, text in documents.items()} | {HELD_OUT_NAME: held_out.to_bytes()}
