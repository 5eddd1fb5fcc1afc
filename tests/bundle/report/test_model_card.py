import dataclasses
import re

import numpy as np
import pytest

from perceiver_edge import runtime
from perceiver_edge.bundle.manifest import TensorSpec
from perceiver_edge.bundle.report import render_model_card


def snippets(card):
    return re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def fake_runtime(monkeypatch):
    """A `load` that records what it is given, as strict about shape and dtype as the real one."""
    calls = []

    def load(path):
        def run(feeds):
            calls.append((path, feeds))
            return np.zeros((1, 10), np.float32)

        return run

    monkeypatch.setattr(runtime, "load", load)
    return calls


def test_snippets_feed_the_smallest_file_of_each_format_what_it_takes(manifest, parity, fake_runtime, capsys):
    for code in snippets(render_model_card(manifest, parity)):
        exec(code, {})
    assert [path for path, _ in fake_runtime] == ["digits_int8.tflite", "digits_int8.onnx"]
    assert all(feeds.shape == (1, 32, 32, 1) and feeds.dtype == np.float32 for _, feeds in fake_runtime)
    assert capsys.readouterr().out == "(1, 10) [0]\n" * 2


def test_the_onnx_snippet_really_runs(manifest, parity, tmp_path, monkeypatch, capsys):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Flatten", ["image"], ["logits"])],
        "flat",
        [onnx.helper.make_tensor_value_info("image", float32, [1, 32, 32, 1])],
        [onnx.helper.make_tensor_value_info("logits", float32, [1, 1024])],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "digits_int8.onnx")
    monkeypatch.chdir(tmp_path)
    code = next(code for code in snippets(render_model_card(manifest, parity)) if ".onnx" in code)
    exec(code, {})
    assert capsys.readouterr().out == "(1, 1024) [0]\n"


def test_models_with_several_inputs_and_open_sizes(manifest, parity, fake_runtime):
    inputs = (
        TensorSpec(name="data", shape=(-1, 8, 3), dtype="float32"),
        TensorSpec(name="mask", shape=(1, 8), dtype="bool"),
    )
    artefacts = {name: dataclasses.replace(a, inputs=inputs) for name, a in manifest.artefacts.items()}
    exec(snippets(render_model_card(dataclasses.replace(manifest, artefacts=artefacts), parity))[0], {})
    ((_, feeds),) = fake_runtime
    assert {name: (array.shape, array.dtype.name) for name, array in feeds.items()} == {
        "data": ((1, 8, 3), "float32"),
        "mask": ((1, 8), "bool"),
    }


def test_latents_have_no_argmax(manifest, parity):
    latents = dataclasses.replace(manifest, config=dataclasses.replace(manifest.config, final_classifier_head=False))
    assert "argmax" in render_model_card(manifest, parity)
    assert "argmax" not in render_model_card(latents, parity)


def test_table_has_one_whole_row_a_file(manifest, parity, latency):
    card = render_model_card(manifest, parity, latency=latency, device="one phone")
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert {row.count("|") for row in rows} == {8}
    (row,) = (row for row in rows if "digits_int8.tflite" in row)
    for expected in ("`digits_int8.tflite`", "1.25 MB (3.20× smaller)", "4.00 ms", "100.0 %", "✓"):
        assert expected in row
    assert "Latency: median of one inference; one phone." in card


def test_preprocessing_is_stated_only_where_there_is_some(manifest, parity):
    assert "becomes (pixel / 255 - 0.5) / 0.25." in render_model_card(manifest, parity)
    plain = dataclasses.replace(manifest.input_spec, image_mean=(0.0,), image_std=(1.0,))
    assert "becomes pixel / 255." in render_model_card(dataclasses.replace(manifest, input_spec=plain), parity)
    unsaid = dataclasses.replace(manifest.input_spec, image_mean=None, image_std=None)
    assert "pixel" not in render_model_card(dataclasses.replace(manifest, input_spec=unsaid), parity)


def test_random_weights_and_failures_are_said(manifest, parity, failed):
    assert "Warning" not in render_model_card(manifest, parity)
    assert "weights are random" in render_model_card(dataclasses.replace(manifest, is_random_weights=True), parity)
    assert "FAILED" in render_model_card(manifest, failed)


def test_hostile_names_stay_names(manifest, parity, fake_runtime):
    evil = "a`|<b>\n```\n# \"'); import os  # "
    artefacts = {evil + ".onnx": manifest.artefacts["digits_int8.onnx"]}
    card = render_model_card(dataclasses.replace(manifest, name=evil, artefacts=artefacts), parity)
    (code,) = snippets(card)
    exec(code, {})
    assert fake_runtime[0][0] == evil + ".onnx"
    assert card.splitlines()[0] == "# a\\`\\|&lt;b&gt; \\`\\`\\` \\# &#34;&#39;); import os \\#"
    assert {line.count("|") for line in card.splitlines() if line.startswith("| `")} == {8}
