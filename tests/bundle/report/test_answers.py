"""The samples that a model answers otherwise, and accuracy by class."""

import base64
import dataclasses
import io
import re

import numpy as np
from PIL import Image

from perceiver_edge.bundle.answers import MOST_CLASSES, MOST_SHOWN, accuracy_by_class, classes_in_words, differences
from perceiver_edge.bundle.card import render_model_card
from perceiver_edge.bundle.report import render_report


def test_only_models_with_other_answers_are_listed_with_the_samples(manifest, answered, held_out):
    found = differences(manifest, answered, held_out)
    assert [model["name"] for model in found] == ["digits_int8.tflite", "digits_int8.onnx"]
    assert [sample["row"] for sample in found[0]["samples"]] == [3, 14, 15]
    sample = found[0]["samples"][0]
    label = int(held_out.labels[3])
    assert (sample["reference"], sample["answer"], sample["label"]) == (str(label), str((label + 1) % 10), str(label))


def test_classes_have_their_names(manifest, answered, held_out):
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    named = dataclasses.replace(manifest, class_names=names)
    sample = differences(named, answered, held_out)[0]["samples"][0]
    assert sample["answer"] == named.class_names[(int(held_out.labels[3]) + 1) % 10]
    assert accuracy_by_class(named, answered, held_out)["rows"][0]["name"] == "zero"


def test_a_picture_is_the_input_before_its_normalisation(manifest, answered, held_out):
    address = differences(manifest, answered, held_out)[0]["samples"][0]["picture"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
    expected = 255 * (held_out.inputs["input"][3, ..., 0] * 0.25 + 0.5)
    np.testing.assert_allclose(pixels, np.clip(expected, 0, 255), atol=0.51)


def test_what_is_no_picture_is_told_by_its_number(manifest, answered, held_out):
    sound = dataclasses.replace(held_out, inputs={"input": np.zeros((100, 50, 1), np.float32)})
    assert differences(manifest, answered, sound)[0]["samples"][0]["picture"] is None
    assert "sample 14" in render_report(manifest, answered, held_out=sound)


def test_no_page_of_hundreds_of_pictures(manifest, answered, held_out):
    wrong = tuple(((held_out.labels + 1) % 10).tolist())
    all_wrong = dataclasses.replace(
        answered, artefacts=tuple(dataclasses.replace(artefact, classes=wrong) for artefact in answered.artefacts)
    )
    (first, *_) = differences(manifest, all_wrong, held_out)
    assert (first["count"], len(first["samples"])) == (100, MOST_SHOWN)


def test_accuracy_by_class_counts_samples_of_that_class(manifest, answered, held_out):
    table = accuracy_by_class(manifest, answered, held_out)
    assert table["models"] == list(manifest.artefacts)
    assert sum(row["count"] for row in table["rows"]) == 100
    for label, row in enumerate(table["rows"]):
        lost = sum(int(held_out.labels[sample]) == label for sample in (3, 14, 15))
        assert row["models"][1] == (row["count"] - lost) / row["count"]
        assert row["reference"] == row["models"][0] == 1.0


def test_of_many_classes_those_that_differ_most_are_shown(manifest, answered, held_out):
    labels = np.arange(100)
    reference = np.eye(100, dtype=np.float32)
    many = dataclasses.replace(held_out, labels=labels, reference=reference)
    chosen = labels.copy()
    chosen[77] = 0
    artefacts = tuple(dataclasses.replace(a, classes=tuple(chosen.tolist())) for a in answered.artefacts)
    rows = accuracy_by_class(manifest, dataclasses.replace(answered, artefacts=artefacts), many)["rows"]
    assert len(rows) == MOST_CLASSES
    assert "77" in [row["name"] for row in rows]


def test_latents_or_missing_labels_have_no_classes(manifest, parity, answered, held_out):
    assert differences(manifest, parity, held_out) == []
    assert accuracy_by_class(manifest, parity, held_out) is None
    assert accuracy_by_class(manifest, answered, dataclasses.replace(held_out, labels=None)) is None


def test_the_report_shows_them_and_only_then(manifest, parity, answered, held_out):
    page = render_report(manifest, answered, held_out=held_out)
    assert len(re.findall(r'<img src="data:image/png', page)) == 6
    assert "Accuracy by class" in page
    assert "Answered otherwise" not in render_report(manifest, parity, held_out=held_out)


def test_classes_survive_the_file(answered):
    assert type(answered).from_dict(answered.to_dict()) == answered


def test_the_report_and_the_card_say_what_classes_are_called(manifest, parity):
    names = tuple(f"<class {index}>" for index in range(manifest.config.num_classes))
    named = dataclasses.replace(manifest, class_names=names)
    for page in (render_model_card(named, parity), render_report(named, parity)):
        assert f"{len(names)} classes, in the order of the logits: " in page
        assert "class 9" in page
        assert "<class 9>" not in page
    assert "in the order of the logits" not in render_model_card(manifest, parity)


def test_of_many_classes_the_first_are_named(manifest):
    named = dataclasses.replace(manifest, class_names=tuple(map(str, range(1000))))
    assert classes_in_words(named).endswith("8, 9, and 990 more (class_names in manifest.json).")
