"""What the page of a bundle is made of."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from perceiver_edge.demo.licences import licences
from perceiver_edge.demo.site import demo_site, write_site
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import INT8_RELATIVE_L2
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut


@pytest.fixture
def site(tiny, node_modules):
    return demo_site(tiny, node_modules=node_modules)


def test_page_engines_and_models(site, tiny):
    assert {"index.html", "style.css", "app.js", "bundle/manifest.json"} <= set(site)
    assert {f"bundle/{name}" for name in tiny.manifest.artefacts} <= set(site)
    assert "node_modules/@litertjs/core/dist/index.js" in site
    assert f"bundle/{HELD_OUT_NAME}" not in site


def test_it_says_under_which_licences_its_parts_are(site):
    text = site["LICENCES.txt"].decode()
    assert "onnxruntime-web 1" in text and "@litertjs/core 2" in text and "CC BY" not in text


def test_the_digits_are_said_to_be_whose_they_are(node_modules):
    (node_modules / "onnxruntime-web/package.json").write_text(
        json.dumps({"version": "1", "license": "MIT", "author": {"name": "them"}, "repository": {"url": "there"}})
    )
    text = licences(node_modules, has_digits=True).decode()
    assert "licence MIT, by them, there" in text and "CC BY 4.0" in text


def test_the_examples_are_held_out_samples_with_the_references_answers(site, tiny):
    data = json.loads(site["demo.json"])
    held_out = HeldOut.from_bytes(tiny.read(HELD_OUT_NAME), where="")
    first = {key: np.frombuffer(base64.b64decode(text), "<f4") for key, text in data["examples"][0].items()}
    np.testing.assert_array_equal(first["input"], held_out.inputs["input"][0].ravel())
    np.testing.assert_array_equal(first["reference"], held_out.reference[0])
    assert data["bounds"]["tiny_int8.onnx"] == INT8_RELATIVE_L2


def test_written_as_files_it_is_the_same_site(site, tmp_path):
    write_site(site, tmp_path / "public")
    written = {
        p.relative_to(tmp_path / "public").as_posix(): p for p in (tmp_path / "public").rglob("*") if p.is_file()
    }
    assert written.keys() == site.keys()
    assert written["demo.json"].read_bytes() == site["demo.json"]
    assert written["app.js"].read_bytes() == site["app.js"].read_bytes()
    with pytest.raises(BadInputError, match="not empty"):
        write_site(site, tmp_path / "public")


@pytest.mark.parametrize(
    "change",
    [{"final_classifier_head": False}, {"input_channels": 2}],
    ids=["no classifier", "no picture"],
)
def test_a_model_that_the_page_cannot_show_is_refused(tiny, node_modules, change):
    config = dataclasses.replace(tiny.manifest.config, **change)
    bundle = dataclasses.replace(tiny, manifest=dataclasses.replace(tiny.manifest, config=config))
    with pytest.raises(BadInputError, match="no way to show"):
        demo_site(bundle, node_modules=node_modules)


def test_values_of_a_picture_are_no_classes(tiny, node_modules):
    bundle = dataclasses.replace(tiny, manifest=dataclasses.replace(tiny.manifest, task="regression"))
    with pytest.raises(BadInputError, match="no way to show"):
        demo_site(bundle, node_modules=node_modules)
