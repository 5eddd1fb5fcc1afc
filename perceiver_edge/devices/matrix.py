"""Artefacts × runtimes: each answer beside the float reference's and beside the same artefact's on this processor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from perceiver_edge.devices.runtimes import NATIVE, Kind, Runtime
from perceiver_edge.errors import BadInputError, MissingExtraError, NotRunError, PerceiverEdgeError
from perceiver_edge.measure.latency import describe_device
from perceiver_edge.progress import Progress
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.judgement import Judgement, judge
from perceiver_edge.proof.parity import jsonable
from perceiver_edge.proof.prove import output_step

if TYPE_CHECKING:
    from perceiver_edge.bundle.manifest import Artefact
    from perceiver_edge.proof.held_out import HeldOut

SAME_COSINE = 0.999
SAME_TOP1 = 0.99
"""The same int8 artefact on another processor: kernels round products differently, by one step here and there."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artefact in one runtime.

    Attributes:
        status: the runtime's kind, or ``not run``, with `reason` and, where something is missing, its `fix`.
        refused: the runtime is here but did not run the artefact.
        reference: its answers against the float reference's, held to the artefact's gates.
        native: against those of the same artefact in the native engine; None for that engine itself.
    """

    artefact: str
    precision: str
    runtime: str
    status: Kind | Literal["not run"]
    version: str | None = None
    reference: Judgement | None = None
    native: Judgement | None = None
    refused: bool = False
    reason: str | None = None
    fix: str | None = None

    @property
    def failed(self) -> bool:
        """A gate failed, or a runtime that is here refused the artefact. One that is not here is no failure."""
        judged = [judgement for judgement in (self.reference, self.native) if judgement is not None]
        return self.refused or not all(judgement.passed for judgement in judged)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """``runtimes``: name → what it is. ``device``: this machine, in words."""

    name: str
    device: str
    num_samples: int
    samples_source: str
    is_random_weights: bool
    runtimes: Mapping[str, str]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return jsonable(self)


def run_matrix(
    name: str,
    artefacts: Mapping[str, tuple[Artefact, bytes]],
    held_out: HeldOut,
    *,
    runtimes: Iterable[Runtime],
    gates: Mapping[str, Gates],
    is_classifier: bool,
    is_random_weights: bool,
    progress: Progress,
) -> Matrix:
    """Run every artefact in every runtime of its format, the native one first.

    Args:
        artefacts: by file name.
        gates: by precision, against the float reference.

    Raises:
        BadInputError: no artefact is of a format that these runtimes take.
        MissingExtraError: a native engine is not installed.
    """
    table = sorted(runtimes, key=lambda runtime: runtime.name not in NATIVE.values())
    rows = []
    for file_name, (artefact, model) in artefacts.items():
        native: np.ndarray | None = None
        for runtime in (runtime for runtime in table if artefact.format in runtime.formats):
            with progress(f"{file_name} in {runtime.name}"):
                row, outputs = _run(
                    Row(artefact=file_name, precision=artefact.precision, runtime=runtime.name, status=runtime.kind),
                    runtime, model, held_out, gates=gates[artefact.precision], native=native,
                    is_classifier=is_classifier,
                )  # fmt: skip
            rows.append(row)
            native = outputs if runtime.name == NATIVE[artefact.format] else native
    if not rows:
        raise BadInputError(
            "These runtimes take none of the artefacts.",
            expected=" or ".join(sorted({format_ for runtime in table for format_ in runtime.formats})),
            got=", ".join(artefacts),
        )
    return Matrix(
        name=name, device=describe_device(), num_samples=len(held_out), samples_source=held_out.source,
        is_random_weights=is_random_weights, runtimes={runtime.name: runtime.about for runtime in table},
        rows=tuple(rows),
    )  # fmt: skip


def _run(
    row: Row, runtime: Runtime, model: bytes, held_out: HeldOut, *, gates: Gates, native: np.ndarray | None,
    is_classifier: bool,
) -> tuple[Row, np.ndarray | None]:  # fmt: skip
    if row.precision not in runtime.precisions:
        precisions = " or ".join(runtime.precisions)
        reason, fix = f"an artefact in {precisions}", f"take the bundle of convert --quantize {runtime.precisions[-1]}"
        return dataclasses.replace(row, status="not run", reason=reason, fix=fix), None
    try:
        outputs = runtime.run(model, held_out.inputs)
        step = output_step(model)
        judged = judge(
            held_out.reference, outputs, gates=gates, is_classifier=is_classifier, labels=held_out.labels,
            output_step=step,
        )  # fmt: skip
        beside = None
        if native is not None:
            same = Gates(cosine=SAME_COSINE, top1_agreement=SAME_TOP1)
            if row.precision == "fp32":
                same = dataclasses.replace(same, relative_l2=gates.relative_l2)
            beside = judge(native, outputs, gates=same, is_classifier=is_classifier, output_step=step)
    except NotRunError as error:
        return dataclasses.replace(row, status="not run", reason=error.missing, fix=error.fix), None
    except MissingExtraError:
        raise
    except PerceiverEdgeError as error:
        return dataclasses.replace(row, status="not run", refused=True, reason=str(error)), None
    is_comparable = bool(np.isfinite(outputs).all())  # else there is nothing to hold others to but the reference
    done = dataclasses.replace(row, version=runtime.version(), reference=judged, native=beside)
    return done, outputs if is_comparable else None
