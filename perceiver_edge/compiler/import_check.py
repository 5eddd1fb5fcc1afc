"""The first stage: is the model that was read the model that was meant?"""

from __future__ import annotations

from itertools import islice

from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.compiler.job import Job
from perceiver_edge.compiler.perceiver_io_models import perceiver_io_reference
from perceiver_edge.compiler.torch_models import package_reference
from perceiver_edge.compiler.transformers_models import transformers_reference
from perceiver_edge.config import HuggingFaceConfig, PerceiverConfig
from perceiver_edge.config.perceiver_io import PerceiverIOConfig
from perceiver_edge.proof.reference import COMPARED_SAMPLES, Reference, require_same_function
from perceiver_edge.proof.source import Source, compare_with_answers, compare_with_package


def compare_with_source(job: Job) -> Source | None:
    """Whether this is the model that was meant, before anything is converted; None for one that has no other source.

    Raises:
        GateError, BadInputError: it is not.
    """
    model, progress = job.model, job.options.progress
    weights, source = model.weights_reference, None
    if model.reference is not None:
        with progress("compare the model with its weights"):
            error, count = require_same_function(model.reference, weights, job.proving, where=job.proving.description)
        source = Source(compared_with=model.reference.description, relative_l2=error, num_samples=count)
    elif not model.is_own:
        source = Source()
        if job.answers is None and (package := _source_package(model.checkpoint)) is not None:
            with progress("compare with the source"):
                source = compare_with_package(package, weights, list(islice(job.proving, COMPARED_SAMPLES)))
    if job.answers is not None:
        with progress("compare with the source"):
            source = compare_with_answers(job.answers, weights)
    return source


def _source_package(checkpoint: Checkpoint) -> Reference | None:
    """The framework that wrote the weights, where it is installed."""
    if isinstance(checkpoint.config, PerceiverConfig):
        return package_reference(checkpoint)
    if isinstance(checkpoint.config, PerceiverIOConfig):
        return perceiver_io_reference(checkpoint)
    return transformers_reference(checkpoint) if isinstance(checkpoint.config, HuggingFaceConfig) else None
