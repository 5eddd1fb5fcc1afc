"""The JavaScript engines are found at their pinned versions, or a message says how to install them."""

import json
from pathlib import Path

import pytest

from perceiver_edge.demo.packages import VERSIONS, default_node_modules, engine_files
from perceiver_edge.errors import NotRunError


def test_the_files_that_pages_load_and_no_others(node_modules):
    files = engine_files(node_modules)
    assert files["node_modules/@litertjs/core/wasm/litert_wasm_internal.wasm"].is_file()
    assert "node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs" in files
    assert "node_modules/onnxruntime-web/dist/ort.all.js" not in files


def test_nothing_installed(tmp_path):
    with pytest.raises(NotRunError) as raised:
        engine_files(tmp_path / "my folder" / "node_modules")
    assert f"npm install --prefix '{tmp_path / 'my folder'}' " in raised.value.fix
    assert all(f" {name}@{version}" in raised.value.fix for name, version in VERSIONS.items())


@pytest.mark.parametrize("package", VERSIONS)
def test_another_version_is_not_taken_for_the_tested_one(node_modules, package):
    (node_modules / package / "package.json").write_text(json.dumps({"version": "0.0.1"}))
    with pytest.raises(NotRunError, match=f"{package} {VERSIONS[package]}"):
        engine_files(node_modules)


@pytest.mark.parametrize("damage", ["", "[]", "{}", "\xff"])
def test_a_damaged_package_is_missing(node_modules, damage):
    (node_modules / "onnxruntime-web" / "package.json").write_text(damage, encoding="latin-1")
    with pytest.raises(NotRunError, match="onnxruntime-web"):
        engine_files(node_modules)


def test_a_package_without_its_files_is_missing(node_modules):
    (node_modules / "@litertjs/core/dist/index.js").unlink()
    with pytest.raises(NotRunError, match="@litertjs/core"):
        engine_files(node_modules)


def test_the_default_is_in_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_node_modules() == Path("/elsewhere/perceiver_edge/demo/node_modules")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_node_modules() == Path.home() / ".cache/perceiver_edge/demo/node_modules"
