"""The form for GPUs: equal to the float model, and without what LiteRT's accelerator refuses or misreads."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.tflite.convert import to_tflite
from perceiver_edge.converters.tflite.gpu import for_gpu
from perceiver_edge.converters.tflite.graph import tflite_sites
from perceiver_edge.runtime import load
from perceiver_edge.runtime.litert_gpu_worker import misread_operators

CASES = (
    "image", "image_batch_of_five", "sequence_masked", "video_masked_heads", "three_cross_heads", "one_latent",
    "head_narrower_than_context", "latents_out",
)  # fmt: skip
"""Batches of one and more, masks, several heads, keys that are not absorbed, a single latent, no head."""

_REFUSED_WITH_A_CONSTANT_FIRST = {schema.BuiltinOperator.BATCH_MATMUL, schema.BuiltinOperator.TILE}


def refused(model):
    """Operators that the accelerator refuses for their constant first operand."""
    root = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    (graph,) = root.subgraphs
    for operator in graph.operators:
        code = root.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        first = root.buffers[graph.tensors[operator.inputs[0]].buffer].data
        if kind in _REFUSED_WITH_A_CONSTANT_FIRST and first is not None:
            yield kind


@pytest.mark.parametrize("case", CASES)
def test_output_and_sites_stay(subject, case):
    model = subject(case)
    rewritten = for_gpu(model.tflite)
    np.testing.assert_allclose(load(rewritten)(model.feeds), load(model.tflite)(model.feeds), rtol=1e-5, atol=1e-6)
    assert list(tflite_sites(rewritten)) == model.sites


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_that_the_gpu_refuses_or_misreads(subject, case):
    rewritten = for_gpu(subject(case).tflite)
    assert list(refused(rewritten)) == []
    assert list(misread_operators(rewritten)) == []


def test_the_float_model_has_what_is_rewritten(subject):
    """Guards the test above: should lowering stop making these forms, `tflite_gpu` has nothing to do and can go."""
    model = subject("image_batch_of_five").tflite
    assert set(refused(model)) == {schema.BuiltinOperator.BATCH_MATMUL}
    assert list(misread_operators(model))


def test_a_tiled_constant_is_evaluated(trace_module):
    import tensorflow as tf

    encoding = tf.constant(np.random.default_rng(0).normal(size=(1, 256, 10)).astype(np.float32))
    shape = (4, 256, 3)
    model = to_tflite(trace_module(lambda x: tf.concat([x, tf.tile(encoding, [4, 1, 1])], -1), shape))
    rewritten = for_gpu(model)
    assert list(refused(rewritten)) == []
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    np.testing.assert_array_equal(load(rewritten)(x), load(model)(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, rows: x + rows,
        lambda x, rows: rows - x,
        lambda x, rows: x * rows[:, :1],
        lambda x, rows: rows @ x,
        lambda x, rows: x @ rows,
    ],
    ids=["sum", "difference", "column", "constant_left", "constant_right"],
)
def test_each_form_computes_the_same(trace_module, function):
    rows = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(1, 4, 4)).astype(np.float32)
    model = to_tflite(trace_module(lambda x: function(x, rows)))
    rewritten = for_gpu(model)
    np.testing.assert_allclose(load(rewritten)(x), load(model)(x), rtol=1e-5, atol=1e-6)
    assert list(refused(rewritten)) == []
    assert list(misread_operators(rewritten)) == []


@pytest.mark.devices
@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("video")])
def test_all_of_it_runs_on_the_gpu_and_equals_the_reference(subject, case):
    from perceiver_edge.converters.tflite.quantize import tflite_fp16
    from perceiver_edge.runtime.litert_gpu import run_on_gpu

    model = subject(case)
    output = run_on_gpu(for_gpu(model.tflite), model.feeds)
    assert np.linalg.norm(output - model.reference) < 1e-5 * np.linalg.norm(model.reference)
    half = run_on_gpu(tflite_fp16(model.tflite), model.feeds)
    assert np.linalg.norm(half - model.reference) < 1e-2 * np.linalg.norm(model.reference)


@pytest.mark.devices
def test_the_gpu_refuses_inputs_of_five_axes(subject):
    """So videos stay on CPUs: the model is whole there, or it does not run."""
    from perceiver_edge.errors import BadInputError
    from perceiver_edge.runtime.litert_gpu import run_on_gpu

    model = subject("video_masked_heads")
    with pytest.raises(BadInputError, match="RESHAPE: Tensor dimensions must be less than 5"):
        run_on_gpu(for_gpu(model.tflite), model.feeds)
