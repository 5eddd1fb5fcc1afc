"""What a person with a bundle does in Python."""

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.bundle.evidence import read_held_out
from perceiver_edge.errors import BadInputError, in_terminal, option


@pytest.fixture
def bundle(compiled):
    return perceiver_edge.load_bundle(compiled)


def test_it_is_shown_in_a_line_and_in_notebooks_as_a_table(bundle):
    assert repr(bundle).startswith("<Bundle tiny: tiny_")
    assert len(repr(bundle)) < 300
    assert "\n" not in repr(bundle)
    assert bundle._repr_html_().count("<tr>") == 1 + 4


def test_without_jinja2_a_notebook_shows_the_line(bundle, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    assert bundle._repr_html_() is None


def test_what_was_measured_is_at_hand(bundle):
    assert bundle.parity.passed
    assert bundle.latency["device"]
    for times in bundle.latency["artefacts"].values():
        assert len(times["samples_ms"]) == bundle.latency["rounds"]
        assert times["median_ms"] == pytest.approx(np.median(times["samples_ms"]), abs=1e-3)


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_a_model_is_loaded_by_precision_and_format_and_runs_many_samples(bundle, format_):
    held_out = read_held_out(bundle)
    run = bundle.load("int8", format_)
    answers = run.batch(held_out.inputs["input"])
    assert answers.shape == held_out.reference.shape
    np.testing.assert_array_equal(answers[2], run(held_out.inputs["input"][2]))
    np.testing.assert_array_equal(answers, run.batch(held_out.inputs))


def test_a_runner_says_what_it_is(bundle):
    assert "float32 [1, 16, 16, 3]" in repr(bundle.load("fp32", "onnx"))
    assert "onnxruntime" in repr(bundle.load("fp32", "onnx"))


def test_a_model_that_is_not_there_is_told_with_those_that_are(bundle):
    with pytest.raises(BadInputError, match="fp32 tflite"):
        bundle.load("fp16")


@pytest.mark.parametrize("nothing", [np.zeros((0, 16, 16, 3), np.float32), np.float32(1), {}])
def test_no_samples_are_refused(bundle, nothing):
    with pytest.raises(BadInputError, match="not samples side by side"):
        bundle.load("int8").batch(nothing)


def test_an_error_speaks_of_arguments_in_python_and_of_flags_in_a_terminal(compiled, samples):
    def refusal():
        with pytest.raises(BadInputError) as caught:
            perceiver_edge.compile("tiny", samples=np.load(samples), output=compiled)
        return str(caught.value)

    assert "overwrite=True" in refusal()
    assert "--" not in refusal()
    with in_terminal():
        assert "pass --overwrite to" in refusal()


def test_options_are_named_as_their_flags():
    from dataclasses import fields

    from perceiver_edge.compiler.options import Options

    for field in fields(Options):
        flag = field.metadata["flag"]
        if flag.group is None or field.name == "cache":
            continue
        with in_terminal():
            assert option(field.name) == (flag.name or f"--{field.name.replace('_', '-')}")
        assert option(field.name) == field.name
    with in_terminal():
        assert option("input_shape", (8, 8)) == "--input-shape 8,8"
    assert option("input_shape", (8, 8)) == "input_shape=(8, 8)"


def test_several_precisions_make_one_bundle_with_one_table(tiny, tmp_path, capsys):
    from perceiver_edge import convert

    assert convert.main([*tiny, "--quantize", "int8,dynamic,fp16", "--output", str(tmp_path / "all")]) == 0
    printed = capsys.readouterr().out
    bundle = perceiver_edge.load_bundle(tmp_path / "all")
    kinds = {(a.format, a.precision) for a in bundle.manifest.artefacts.values()}
    assert kinds == {(f, p) for f in ("tflite", "onnx") for p in ("fp32", "fp16", "dynamic", "int8")}
    for name in bundle.manifest.artefacts:
        assert printed.count(name) in (1, 2)  # in the table, and perhaps in the advice
    assert "\nShip tiny_" in printed


@pytest.mark.parametrize("words", ["int8,int9", "int8,none", ""])
def test_precisions_that_do_not_go_together_are_refused(words):
    with pytest.raises(BadInputError, match="quantize is not usable"):
        perceiver_edge.compile("tiny", quantize=tuple(words.split(",")) if words else ())
