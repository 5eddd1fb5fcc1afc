"""What a bundle carries of its proof: the samples, what the reference said of them, and the bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping

from perceiver_edge.bundle.folder import Bundle
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import Gates, ParityReport, gates_by_precision
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut


def read_held_out(bundle: Bundle) -> HeldOut:
    """The samples that a bundle carries.

    Raises:
        BadInputError: a damaged bundle.
    """
    return HeldOut.from_bytes(bundle.read(HELD_OUT_NAME), where=bundle.path / HELD_OUT_NAME)


def read_gates(bundle: Bundle) -> tuple[dict[str, Gates], Mapping[str, float]]:
    """The gates of a bundle by precision, and the bounds that were chosen for it.

    Raises:
        BadInputError: a damaged bundle.
    """
    try:
        report = ParityReport.from_dict(json.loads(bundle.read("parity.json")))
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            "The report of the compilation is not JSON.", got=error, where=bundle.path / "parity.json"
        ) from error
    precisions = (artefact.precision for artefact in bundle.manifest.artefacts.values())
    return gates_by_precision(precisions, report.gate_overrides), report.gate_overrides
