"""A bundle of the tiny preset, the digits' for the browser, and a folder that looks like npm's."""

import json
from pathlib import Path

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.bundle.folder import read_bundle
from perceiver_edge.demo.browser import headless_browser
from perceiver_edge.demo.packages import VERSIONS, engine_files
from perceiver_edge.errors import NotRunError

FILES = {
    "@litertjs/core": ("dist/index.js", "wasm/litert_wasm_internal.js", "wasm/litert_wasm_internal.wasm"),
    "@litertjs/wasm-utils": ("dist/index.js",),
    "onnxruntime-web": (
        "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm", "dist/ort.webgpu.bundle.min.mjs",
        "dist/ort-wasm-simd-threaded.asyncify.wasm", "dist/ort.all.js",
    ),
}  # fmt: skip


@pytest.fixture
def node_modules(tmp_path: Path) -> Path:
    """The right names and versions, with nothing in them."""
    folder = tmp_path / "npm" / "node_modules"
    for package, files in FILES.items():
        for name in files:
            (folder / package / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / package / name).touch()
        (folder / package / "package.json").write_text(json.dumps({"version": VERSIONS[package]}))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Pictures [16, 16, 3] in, random weights."""
    random = np.random.default_rng(0)
    colours = random.uniform(-2, 2, (12, 1, 1, 3))
    samples = (colours + random.uniform(-0.5, 0.5, (12, 16, 16, 3))).astype(np.float32)
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    gates = {"top1_agreement": 0.0}  # the largest of a random model's logits leads by next to nothing
    perceiver_edge.compile("tiny", samples=samples, num_samples=6, num_held_out=6, gates=gates, output=folder)
    return read_bundle(folder)


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "digits"
    perceiver_edge.compile("digits", output=folder)
    return read_bundle(folder)


@pytest.fixture(scope="session")
def engines():
    """Skips where the npm packages, Selenium or Chromium are not here."""
    try:
        engine_files()
        with headless_browser():
            pass
    except NotRunError as error:
        pytest.skip(str(error))
