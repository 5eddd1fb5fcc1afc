"""Everything that the page of a bundle is made of: its own files, the engines, the models and a few samples."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from perceiver_edge.bundle.evidence import read_gates, read_held_out
from perceiver_edge.bundle.folder import Bundle
from perceiver_edge.bundle.manifest import MANIFEST_NAME, Manifest
from perceiver_edge.demo.licences import FILE, licences
from perceiver_edge.demo.packages import VERSIONS, engine_files
from perceiver_edge.demo.server import Site
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.held_out import DIGITS_TEST

_PAGE = Path(__file__).parent / "page"
_NUM_EXAMPLES = 10


def page_files() -> dict[str, Path]:
    """The page's own files by name."""
    return {path.name: path for path in sorted(_PAGE.iterdir()) if path.is_file()}


def demo_site(bundle: Bundle, *, node_modules: Path | None) -> Site:
    """The site of one bundle; it works from any folder of any server that sends `server.HEADERS`.

    Raises:
        BadInputError: a bundle that the page has no way to feed or to show.
        NotRunError: the engines are not installed.
    """
    _require_picture_classifier(bundle.manifest, where=bundle.path)
    names = [MANIFEST_NAME, *bundle.manifest.artefacts]
    return {
        **page_files(),
        **engine_files(node_modules),
        **{f"bundle/{name}": bundle.path / name for name in names},
        "demo.json": _demo_data(bundle),
        FILE: licences(node_modules, has_digits=DIGITS_TEST in bundle.parity.samples_source),
    }


def write_site(site: Site, folder: Path) -> None:
    """The same as files, for any web server.

    Raises:
        BadInputError: the folder is there already and not empty, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadInputError("The site's folder is not empty.", expected="a new or an empty folder", where=folder)
        for name, content in site.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    except OSError as error:
        raise BadInputError("The site cannot be written.", got=error, where=folder) from error


def _require_picture_classifier(manifest: Manifest, *, where: Path) -> None:
    shape, channels = manifest.input_spec.shape, manifest.config.sample_shape(manifest.input_spec.shape)[-1]
    expected = [("input", (1, *shape, channels))]
    for name, artefact in manifest.artefacts.items():
        inputs = [(spec.name, spec.shape) for spec in artefact.inputs]
        is_picture = len(shape) == 2 and channels in {1, 3}
        if not (is_picture and inputs == expected and manifest.is_classifier):
            raise BadInputError(
                "The page has no way to show this model.",
                expected="a classifier of one picture [1, height, width, 1 or 3] a call, without a mask",
                got=", ".join(f"{spec.name} {list(spec.shape)}" for spec in artefact.inputs),
                where=where / name,
            )  # fmt: skip


def _demo_data(bundle: Bundle) -> bytes:
    """What the page needs beside the manifest, as JSON.

    ``examples``: ``input`` and the float reference's output, ``reference``, each the base64 of little-endian float32;
    one sample of every class where labels are known, else the first; at most `_NUM_EXAMPLES`. ``bounds``: artefact →
    the relative L2 error that the bundle's gates allow it. ``versions``: npm package → version.
    """
    held_out = read_held_out(bundle)
    rows = range(len(held_out)) if held_out.labels is None else np.unique(held_out.labels, return_index=True)[1]
    examples = [
        {"input": _base64(held_out.inputs["input"][row]), "reference": _base64(held_out.reference[row])}
        for row in rows[:_NUM_EXAMPLES]
    ]
    gates, _ = read_gates(bundle)
    bounds = {name: gates[artefact.precision].relative_l2 for name, artefact in bundle.manifest.artefacts.items()}
    return json.dumps({"examples": examples, "bounds": bounds, "versions": VERSIONS}).encode()


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
