"""The JavaScript engines: npm packages at the versions of ``package.json``, found in one ``node_modules`` folder."""

from __future__ import annotations

import json
import shlex
from itertools import chain
from pathlib import Path

from perceiver_edge.cache import user_folder
from perceiver_edge.errors import NotRunError

VERSIONS: dict[str, str] = json.loads((Path(__file__).parent / "package.json").read_text("utf-8"))["dependencies"]

_NEEDED = {
    "@litertjs/core": ("dist/index.js", "wasm/*"),
    "@litertjs/wasm-utils": ("dist/index.js",),
    "onnxruntime-web": (
        "dist/ort.wasm.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.wasm",
        "dist/ort.webgpu.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm",
    ),
}
"""What a page loads of each package; all of it would be 180 MB."""


def default_node_modules() -> Path:
    """In the user's cache folder, so that one installation serves every working directory and environment."""
    return user_folder() / "demo" / "node_modules"


def engine_files(node_modules: Path | None = None) -> dict[str, Path]:
    """The files of both engines, by the path under which a page asks for them (``node_modules/…``).

    Args:
        node_modules: the folder that npm filled; None for `default_node_modules`.

    Raises:
        NotRunError: a package is missing or has another version; the message has the command that installs it.
    """
    folder = node_modules or default_node_modules()
    files: dict[str, Path] = {}
    for package, patterns in _NEEDED.items():
        found = [sorted((folder / package).glob(pattern)) for pattern in patterns]
        if _version(folder / package) != VERSIONS[package] or not all(found):
            raise NotRunError(
                "The browser demo", missing=f"npm package {package} {VERSIONS[package]} in {folder}", fix=_fix(folder)
            )
        files |= {f"node_modules/{path.relative_to(folder).as_posix()}": path for path in chain(*found)}
    return files


def _version(package: Path) -> str | None:
    try:
        return json.loads((package / "package.json").read_text("utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fix(folder: Path) -> str:
    packages = " ".join(f"{name}@{version}" for name, version in VERSIONS.items())
    return f"npm install --prefix {shlex.quote(str(folder.parent))} {packages}"
