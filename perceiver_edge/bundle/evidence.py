"""What a bundle carries of its proof: the samples, what the reference said of them, and the bounds."""

from __future__ import annotations

from collections.abc import Mapping

from perceiver_edge.bundle.bundle import Bundle
from perceiver_edge.proof.gates import Gates, gates_by_precision
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
    precisions = (artefact.precision for artefact in bundle.manifest.artefacts.values())
    overrides = bundle.parity.gate_overrides
    return gates_by_precision(precisions, overrides, is_random_weights=bundle.manifest.is_random_weights), overrides
