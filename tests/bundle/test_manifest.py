import dataclasses
import json

import pytest

from perceiver_edge.bundle.manifest import Manifest, seal
from perceiver_edge.errors import BadInputError


def test_manifest_survives_json(make_manifest):
    manifest = make_manifest()
    assert Manifest.from_json(manifest.to_json(), where="here") == manifest
    without = dataclasses.replace(manifest, calibration=None)
    assert Manifest.from_json(without.to_json(), where="here") == without


def test_json_is_deterministic_whatever_the_order_of_insertion(make_manifest):
    manifest = make_manifest()
    one = dataclasses.replace(manifest, tools={"a": "1", "b": "2"})
    other = dataclasses.replace(manifest, tools={"b": "2", "a": "1"})
    assert one.to_json() == other.to_json()
    assert list(json.loads(one.to_json())) == sorted(json.loads(one.to_json()))


def test_config_in_the_manifest_is_a_config_json(make_manifest):
    config = json.loads(make_manifest().to_json())["config"]
    assert config["num_latents"] == 8
    assert config["input_shape"] == [16, 16]


def test_seal_records_every_file(make_manifest):
    files = seal(make_manifest(b"x"), {"tiny_int8.onnx": b"x", "report.html": b"<p>"})
    manifest = Manifest.from_json(files["manifest.json"], where="here")
    assert set(manifest.all_files()) == {"tiny_int8.onnx", "report.html"}
    assert manifest.files["report.html"].size_bytes == 3


@pytest.mark.parametrize("files", [{}, {"tiny_int8.onnx": b"other bytes"}])
def test_seal_refuses_an_artefact_the_manifest_does_not_describe(make_manifest, files):
    with pytest.raises(BadInputError, match=r"tiny_int8\.onnx"):
        seal(make_manifest(), files)


LEAVE = ["../escape", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "C:x", "manifest.json"]
OF_DEVICES = ["NUL", "con", "aux.tflite", "Com1.onnx", "lpt9.tar.gz", "COM¹", "prn .txt", "CONOUT$"]
CHANGED_BY_WINDOWS = ["model.", "model ", "a?.onnx", "a*b", 'a"b', "a|b", "<a>"]


@pytest.mark.parametrize("name", [*LEAVE, *OF_DEVICES, *CHANGED_BY_WINDOWS])
def test_names_that_leave_the_folder_or_that_a_system_does_not_take_are_refused(make_manifest, name):
    with pytest.raises(BadInputError, match="plain file name"):
        seal(make_manifest(b"x"), {"tiny_int8.onnx": b"x", name: b""})
    values = json.loads(make_manifest().to_json())
    values["files"][name] = {"size_bytes": 0, "sha256": ""}
    with pytest.raises(BadInputError, match="plain file name"):
        Manifest.from_json(json.dumps(values).encode(), where="here")


@pytest.mark.parametrize("name", ["Tiny_Int8.onnx", "readme.md", "Manifest.json"])
def test_names_that_differ_only_in_capitals_are_refused(make_manifest, name):
    """On macOS and on Windows they are one file."""
    with pytest.raises(BadInputError, match="capitals"):
        seal(make_manifest(b"x"), {"tiny_int8.onnx": b"x", "README.md": b"", name: b""})
    values = json.loads(make_manifest().to_json())
    values["files"] |= {taken: {"size_bytes": 0, "sha256": ""} for taken in ("README.md", name)}
    with pytest.raises(BadInputError, match="capitals"):
        Manifest.from_json(json.dumps(values).encode(), where="here")


def damaged(**changes):
    def change(values):
        for key, value in changes.items():
            if value is None:
                del values[key]
            else:
                values[key] = value
        return json.dumps(values).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        damaged(bundle_format=99),
        damaged(bundle_format=None),
        damaged(artefacts=None),
        damaged(artefacts=[]),
        damaged(artefacts={"a": {"size_bytes": 1}}),
        damaged(surprise=1),
        lambda values: json.dumps(values).encode()[:-9],
        lambda values: b"\xff\xfe",
        lambda values: b'{"name": "a web page", "icons": []}',
        lambda values: b"[]",
    ],
)
def test_damaged_or_foreign_manifests_are_refused(make_manifest, change):
    with pytest.raises(BadInputError, match=r"where: .*there\.json"):
        Manifest.from_json(change(json.loads(make_manifest().to_json())), where="there.json")
