"""The gate can fail: digits artefacts are broken, one thing at a time, and every one must be rejected."""

import re

import numpy as np
import pytest
from broken.taken_apart import Onnx, Tflite
from onnx import numpy_helper

import perceiver_edge
from perceiver_edge.compiler.artefacts import Kind
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.judgement import judge
from perceiver_edge.proof.parity import ParityError

SITE = "layers.1.self_ff.0.down"


def scale_activation(model, *, factor, site=SITE):
    if isinstance(model, Tflite):
        # Producer and consumers share a TFLite tensor's scale: a larger one is only coarser, a smaller one clips.
        quantization = model.tensor(site, "output").quantization
        quantization.scale = quantization.scale / (16 * factor)
    else:  # the DequantizeLinear gets a scale of its own: the QuantizeLinear before it would undo the change
        _own_parameter(model, site, 1, lambda scale: (scale * factor).astype(np.float32))


def shift_zero_point(model, *, by=20, site="classifier"):
    if isinstance(model, Tflite):  # shared like the scale: what a shift breaks is what it pushes out of the range
        quantization = model.tensor(site, "output").quantization
        quantization.zeroPoint = quantization.zeroPoint + 9 * by
        return
    _own_parameter(model, site, 2, lambda zero_point: (zero_point.astype(int) + by).astype(zero_point.dtype))


def _own_parameter(model, site, position, change):
    output = model.sites[site].output
    (quantize,) = [n for n in model.of_kind("QuantizeLinear") if n.input[0] == output]
    (dequantize,) = [n for n in model.of_kind("DequantizeLinear") if n.input[0] == quantize.output[0]]
    value = numpy_helper.to_array(model.constants_by_name[dequantize.input[position]])
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(change(value)), "broken"))
    dequantize.input[position] = "broken"


def scale_weights(model, *, factor, channels=slice(None), site=SITE):
    def change(scales):
        scales = np.array(scales, np.float32)
        scales[channels] *= factor
        return scales

    if isinstance(model, Tflite):
        quantization = model.tensor(site, "weight").quantization
        quantization.scale = change(quantization.scale)
    else:
        model.set(model.made_by[model.sites[site].weight].input[1], change)


def permute_weights(model, site=SITE):
    model.rewrite_weights(site, lambda w: w[::-1])


def transpose_weights(model, site="layers.1.self_attn.0.output"):  # 64 × 64
    model.rewrite_weights(site, lambda w: w.T)


def roll_weights(model, site=SITE):
    model.rewrite_weights(site, lambda w: np.roll(w, 1, axis=0))


def collapse(model):
    """The classifier no longer reads its input: the output is the same for every digit."""
    model.rewrite_weights("classifier", np.zeros_like)


def silence_attention(model):
    """The second cross-attend's softmax gives zeros: its projection gets none."""
    model.rewrite_weights("layers.1.cross_attn.output", np.zeros_like)


def drop_residual(model):
    """The last block's sum with the latents passes on the block's result only."""
    if isinstance(model, Tflite):
        add = model.of_kind("ADD")[-2]  # the last one belongs to the head's normalisation
        for operator in model.graph.operators:
            operator.inputs = [add.inputs[1] if i == add.outputs[0] else i for i in operator.inputs]
    else:
        (add,) = [n for n in model.of_kind("Add") if re.fullmatch(r"layers\.1\.self_ff\.0/add\w*", n.name)][-1:]
        branch = next(i for i in add.input if SITE in i)
        for node in model.graph.node:
            node.input[:] = [branch if name == add.output[0] else name for name in node.input]


MUTATIONS = {
    "activation scale × 2": lambda m: scale_activation(m, factor=2.0),
    "weight scales × 2": lambda m: scale_weights(m, factor=2.0),
    "weight scale × 1.5, one class": lambda m: scale_weights(m, factor=1.5, channels=slice(3, 4), site="classifier"),
    "zero point + 20": shift_zero_point,
    "weights permuted": permute_weights,
    "weights transposed": transpose_weights,
    "weights rolled by one row": roll_weights,
    "residual dropped": drop_residual,
    "attention silenced": silence_attention,
    "output constant": collapse,
}
PLACES = {
    "weight scales × 2": SITE,
    "weights permuted": SITE,
    "weights transposed": "layers.1.self_attn.0.output",
    "weights rolled by one row": SITE,
    "attention silenced": "layers.1.cross_attn.output",
    "output constant": "classifier",
}


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_artefact_is_rejected(subject, format_, mutation):
    digits = subject("digits")
    model = {"tflite": Tflite, "onnx": Onnx}[format_](digits.artefacts[Kind(format_, "int8")])
    MUTATIONS[mutation](model)
    proven = digits.prove(format_, "int8", content=model.pack())
    assert not proven.passed, proven.judgement.metrics
    if mutation in PLACES:
        assert proven.error_enters_at.name == PLACES[mutation]


@pytest.mark.parametrize("format_", ["tflite", "onnx"])
def test_taking_apart_and_putting_together_breaks_nothing(subject, format_):
    digits = subject("digits")
    model = {"tflite": Tflite, "onnx": Onnx}[format_](digits.artefacts[Kind(format_, "int8")])
    assert digits.prove(format_, "int8", content=model.pack()).passed


def test_the_mean_output_has_a_high_cosine_and_is_rejected_all_the_same():
    """What a collapsed model gives: nearly right on every sample, and blind."""
    reference = 10 + np.random.default_rng(0).normal(size=(64, 10))
    judgement = judge(
        reference, np.tile(reference.mean(0), (64, 1)), gates=Gates.for_precision("int8"), is_classifier=True
    )
    assert judgement.metrics.cosine > 0.99
    assert {check.name for check in judgement.failures} >= {"sensitivity_ratio", "centred_cosine"}


def test_a_failed_gate_publishes_nothing_and_touches_nothing(tmp_path):
    output = tmp_path / "bundle"
    options = {"quantize": "none", "formats": ("onnx",), "num_held_out": 8, "output": output}
    with pytest.raises(ParityError) as failure:
        perceiver_edge.compile("digits", gates={"relative_l2": 0.0}, **options)
    assert failure.value.exit_code == 1
    assert not failure.value.report.passed
    assert "relative_l2" in str(failure.value)
    assert list(tmp_path.iterdir()) == []

    perceiver_edge.compile("digits", **options)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(ParityError):
        perceiver_edge.compile("digits", gates={"relative_l2": 0.0}, overwrite=True, **options)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
