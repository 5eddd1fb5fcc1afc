"""A model in a process of its own answers the same, and takes only that process with it."""

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import isolated, load


@pytest.mark.parametrize("model", ["int8_tflite", "float_onnx"])
def test_the_same_answers_and_the_same_errors(model, batch, request):
    content = request.getfixturevalue(model)
    here, apart = load(content, threads=1), load(content, threads=1, isolated=True)
    assert (apart.engine, apart.inputs, apart.outputs) == (here.engine, here.inputs, here.outputs)
    for _ in range(3):
        np.testing.assert_array_equal(apart(batch), here(batch))
    np.testing.assert_array_equal(apart(batch[0]), here(batch[0]))
    np.testing.assert_array_equal(apart.batch(np.repeat(batch, 3, axis=0)), here.batch(np.repeat(batch, 3, axis=0)))
    for bad in (batch[:, :2], batch.astype(np.float64), batch * np.nan):
        with pytest.raises(BadInputError):
            apart(bad)


def broken_tflite(content):
    """An operator that reads a tensor of nowhere: the FlatBuffer is sound, the graph is nonsense."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.subgraphs[0].operators[0].inputs = np.array([7_000_000, 1, 2], np.int32)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_an_engine_that_ends_its_process_does_not_end_this_one(float_tflite):
    with pytest.raises(BadInputError, match=r"ended its process|cannot be loaded|graph"):
        load(broken_tflite(float_tflite), isolated=True)


@pytest.mark.parametrize("when", ["loading", "running"])
def test_an_end_is_told_by_its_signal(when, float_onnx, batch):
    runner = load(float_onnx, isolated=True)
    runner._child.kill()
    runner._child.wait()
    for _ in range(2):
        with pytest.raises(BadInputError, match="signal 9"):
            runner(batch)


def test_what_does_not_load_is_told_as_without(masked_onnx):
    with pytest.raises(BadInputError, match="neither a TFLite nor an ONNX"):
        load(b"junk", isolated=True)
    for content in (b"junk", masked_onnx[:-4]):
        with pytest.raises(BadInputError, match=r"where: +of_a_stranger\.onnx"):
            isolated.IsolatedRunner(content, where="of_a_stranger.onnx")
    with pytest.raises(BadInputError, match="'isolated' is not usable"):
        load(masked_onnx, isolated=True, weight_cache="somewhere")


def test_masks_and_several_outputs_go_to_and_fro(masked_onnx):
    feeds = {"input": np.ones((1, 4), np.float32), "mask": np.array([[True, False, True, True]])}
    answers = load(masked_onnx, isolated=True)(feeds)
    assert (float(answers["logits"][0]), float(answers["count"][0])) == (3.0, 3.0)


def test_survivors_survive(int8_tflite, masked_onnx):
    for content in (int8_tflite, masked_onnx):
        isolated.require_survivable(content, where="here")
    with pytest.raises(BadInputError):
        isolated.require_survivable(masked_onnx[:-4], where="here")
