"""How many faults of a compiler the gates catch: mutants of sound int8 artefacts, each with one thing wrong.

``pytest --slow -s tests/proof/test_mutants.py`` prints the score of each model and format, and who survived.
"""

import numpy as np
import pytest
from broken.mutants import mutants

from perceiver_edge.compiler.artefacts import FORMATS, Kind
from perceiver_edge.errors import BadInputError
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.prove import outputs
from perceiver_edge.runtime import load

LEAST_SCORE = 0.95
FEWEST_MUTANTS = 150

UNTRAINED = {"top1_agreement": 0.0, "relative_l2": 0.2, "cosine": 0.98}
"""As in test_parity_suite: of networks that have learned nothing."""

WHAT_ERRORS_OF_ROUNDING_HID = (
    "layers.0.self_ff.0.down: bias left out",
    "layers.1.self_attn.0.qkv: weights of four bits",
    "layers.0.cross_ff.up: values and gates swapped",
    "layers.1.self_ff.0.up: scales of the next channel",
    "sum 2: block skipped",
)


def proven(subject, format_, content):
    is_random = subject.model.is_random_weights
    gates = Gates.for_precision("int8").with_overrides(UNTRAINED if is_random else {})
    return subject.prove(format_, "int8", content=content, gates=gates)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("fault", WHAT_ERRORS_OF_ROUNDING_HID)
def test_a_fault_no_larger_than_rounding_is_caught_in_its_layer(subject, format_, fault):
    digits = subject("digits")
    ((_, content),) = mutants(digits.artefacts[Kind(format_, "int8")], format_, only=fault)
    parity = digits.prove(format_, "int8", content=content)
    failed = {check.name: check for check in parity.judgement.failures}
    assert "layer_error" in failed
    if not fault.startswith("sum"):
        assert fault.startswith(f"{failed['layer_error'].where}:")
        assert parity.error_enters_at.name == failed["layer_error"].where


@pytest.mark.slow
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("model", ["digits", "tiny_preset"])
def test_the_gates_catch_nearly_all_mutants(subject, model, format_):
    sound = subject(model)
    original = sound.artefacts[Kind(format_, "int8")]
    answers = outputs(load(original), sound.held_out)
    assert proven(sound, format_, original).passed
    killed, survivors, equivalent, refused = [], [], [], []
    for name, content in mutants(original, format_):
        try:
            parity = proven(sound, format_, content)
        except BadInputError:  # by the engine, which is no merit of a gate
            refused.append(name)
            continue
        if not parity.passed:
            killed.append(name)
        elif np.array_equal(outputs(load(content), sound.held_out), answers):
            equivalent.append(name)
        else:
            survivors.append(f"{name} (layer error {parity.worst_layer.error:.2g})")
    score = len(killed) / (len(killed) + len(survivors))
    summary = f"{model} {format_}: {len(killed)} of {len(killed) + len(survivors)} caught, {score:.1%}"
    print(
        f"{summary}; survived: {'; '.join(survivors) or 'none'}; equal: {'; '.join(equivalent) or 'none'}; "
        f"refused: {'; '.join(refused) or 'none'}"
    )
    assert len(killed) + len(survivors) >= FEWEST_MUTANTS
    assert score >= LEAST_SCORE, survivors
