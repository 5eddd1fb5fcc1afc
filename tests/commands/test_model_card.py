"""What the card of a real bundle tells apps to ask for is what its files have."""

import json

from perceiver_edge.bundle.mobile_code import SIGNATURE


def test_the_card_names_the_files_signature_inputs_and_outputs(compiled):
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_content=(compiled / "tiny_int8.tflite").read_bytes()).get_signature_list()
    manifest = json.loads((compiled / "manifest.json").read_text())["artefacts"]["tiny_int8.tflite"]
    (asked_for,) = manifest["inputs"]
    (given,) = manifest["outputs"]
    assert signatures == {SIGNATURE: {"inputs": [asked_for["name"]], "outputs": [given["name"]]}}
    card = (compiled / "README.md").read_text()
    assert f'signatureRunner(with: "{SIGNATURE}")' in card
    assert f'createInputBuffer("{asked_for["name"]}")' in card
    assert f'createOutputBuffer("{given["name"]}")' in card
    assert f"longArrayOf({', '.join(map(str, asked_for['shape']))})" in card
