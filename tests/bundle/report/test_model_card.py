import ast
import dataclasses
import re

from perceiver_edge.bundle.card import render_model_card


def snippets(card):
    return re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


def test_table_has_one_whole_row_a_file(manifest, parity, latency):
    card = render_model_card(manifest, parity, latency=latency, device="one phone")
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert {row.count("|") for row in rows} == {8}
    (row,) = (row for row in rows if "digits_int8.tflite" in row)
    for expected in ("`digits_int8.tflite`", "1.25 MB (3.20× smaller)", "4.00 ms", "99.0 %", "✓"):
        assert expected in row
    assert "Latency: median of one inference; one phone." in card


def test_random_weights_and_failures_are_said(manifest, parity, failed):
    assert "Warning" not in render_model_card(manifest, parity)
    assert "weights are random" in render_model_card(dataclasses.replace(manifest, is_random_weights=True), parity)
    assert "FAILED" in render_model_card(manifest, failed)


def test_hostile_names_stay_names(manifest, parity):
    evil = "a`|<b>\n```\n# \"'); import os  # "
    artefacts = {evil + ".onnx": manifest.artefacts["digits_int8.onnx"]}
    card = render_model_card(dataclasses.replace(manifest, name=evil, artefacts=artefacts), parity)
    for code in snippets(card):
        literals = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
        assert evil + ".onnx" in literals
    assert card.splitlines()[0] == "# a\\`\\|&lt;b&gt; \\`\\`\\` \\# \"'); import os \\#"
    assert {line.count("|") for line in card.splitlines() if line.startswith("| `")} == {8}
