import ast
import dataclasses
import re

from perceiver_edge.bundle.card import render_model_card
from perceiver_edge.proof.judgement import Check


def snippets(card):
    return re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)


def test_table_has_one_whole_row_a_file(manifest, parity, latency):
    card = render_model_card(manifest, parity, latency=latency, device="one phone")
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 4
    assert {row.count("|") for row in rows} == {8}
    (row,) = (row for row in rows if "digits_int8.tflite" in row)
    for expected in ("`digits_int8.tflite`", "1.25 MB (3.20× smaller)", "4 ms", "99.0 %", "✓"):
        assert expected in row
    assert "Latency: median of one inference; one phone." in card


def test_every_gate_of_every_file_is_there_with_its_bound(manifest, parity, failed):
    worst = Check("layer_error", 4e-4, at_most=5e-3, where="layers.0.cross_ff.up")
    lost = Check("accuracy_lost", 0.06, at_most=0.05)
    first, *others = parity.artefacts
    judged = dataclasses.replace(first.judgement, checks=(*first.judgement.checks, worst, lost))
    parity = dataclasses.replace(parity, artefacts=(dataclasses.replace(first, judgement=judged), *others))
    lines = [line for line in render_model_card(manifest, parity).splitlines() if line.startswith("- `")]
    assert len(lines) == 4
    (line,) = (line for line in lines if f"`{first.name}`" in line)
    assert line.endswith("worst layer 0.0004 (≤ 0.005), accuracy lost 0.06 (≤ 0.05)")
    assert all(line.count("(") == len(a.judgement.checks) for line, a in zip(lines, parity.artefacts, strict=True))


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
