"""The likeliest classes by name: `Runner.top`, and where the names come from."""

import json

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import Runner, TensorSpec
from perceiver_edge.runtime.beside import class_names_in, manifest_beside
from perceiver_edge.runtime.classes import likeliest

LOGITS = np.float32([0.5, 3.0, -1.0, 3.0])


class Fixed(Runner):
    """Answers the same whatever it is fed."""

    def __init__(self, **outputs):
        self.answers = {name: np.asarray(values, np.float32)[np.newaxis] for name, values in outputs.items()}
        spec = TensorSpec((1, 2), np.dtype(np.float32))
        super().__init__({"input": spec}, {name: TensorSpec(a.shape, a.dtype) for name, a in self.answers.items()})

    def _run(self, feeds):
        return self.answers


def test_names_and_probabilities_likeliest_first():
    run = Fixed(logits=LOGITS)
    run.class_names = ("ant", "bee", "cat", "dog")
    guesses = run.top(np.zeros(2, np.float32), k=3)
    assert [(guess.name, guess.index) for guess in guesses] == [("bee", 1), ("dog", 3), ("ant", 0)]
    exponentials = np.exp(LOGITS.astype(np.float64))
    np.testing.assert_allclose([g.probability for g in guesses], (exponentials / exponentials.sum())[[1, 3, 0]])


def test_a_batch_of_one_is_one_sample_and_a_class_without_name_is_its_number():
    assert Fixed(logits=LOGITS).top(np.zeros((1, 2), np.float32), k=1)[0].name == "1"


def test_more_than_there_are_is_all_of_them():
    assert len(likeliest(LOGITS, 9, None)) == 4


def test_huge_logits_do_not_overflow():
    assert likeliest(np.float32([3e38, -3e38]), 1, None)[0].probability == 1


@pytest.mark.parametrize(
    ("logits", "names", "told"),
    [
        (np.zeros((2, 3), np.float32), None, "one sample"),
        (np.zeros(3, np.int32), None, "floating point"),
        (np.zeros(3, np.float32), ("a", "b"), "2 names"),
    ],
)
def test_what_is_no_classification_of_one_sample(logits, names, told):
    with pytest.raises(BadInputError, match=told):
        likeliest(logits, 1, names)


def test_two_outputs_are_no_classifier():
    with pytest.raises(BadInputError, match="Only a classifier"):
        Fixed(a=LOGITS, b=LOGITS).top(np.zeros(2, np.float32))


def test_the_manifest_beside_a_model_names_its_classes(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"12345")

    def manifest(size_bytes, names):
        content = {"artefacts": {"m.onnx": {"size_bytes": size_bytes}}, "class_names": names}
        (tmp_path / "manifest.json").write_text(json.dumps(content))

    assert class_names_in(manifest_beside(model)) is None
    manifest(5, ["ant", "bee"])
    assert class_names_in(manifest_beside(model)) == ("ant", "bee")
    assert class_names_in(manifest_beside(tmp_path / "other.onnx")) is None
    manifest(6, ["ant", "bee"])  # another file of that name
    assert class_names_in(manifest_beside(model)) is None
    manifest(5, None)
    assert class_names_in(manifest_beside(model)) is None
    (tmp_path / "manifest.json").write_text("{")
    assert class_names_in(manifest_beside(model)) is None


@pytest.mark.parametrize("logits", [[], [np.nan, 1], [np.inf, 1], [-np.inf, -np.inf]])
def test_logits_without_a_greatest_have_no_likeliest_class(logits):
    with pytest.raises(BadInputError, match="no likeliest class"):
        likeliest(np.float32(logits), 5, None)


def test_a_class_that_is_ruled_out_has_no_chance():
    assert [guess.probability for guess in likeliest(np.float32([-np.inf, 0]), 5, None)] == [1, 0]
