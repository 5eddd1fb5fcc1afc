"""What is no model is told from one before an engine is looked for; weights in other files are refused."""

import os

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load
from perceiver_edge.runtime.formats import format_of

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"hello", "begin with b'hello'"),
        (b"PK\x03\x04abcd", "zip"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b'{"a": 1}', "JSON"),
        (b"\0" * 64, "64 bytes"),
        (np.random.default_rng(0).bytes(4096), "4,096 bytes"),
    ],
)
def test_junk_is_called_junk(content, says, tmp_path):
    (tmp_path / "model.tflite").write_bytes(content)
    for model in (content, tmp_path / "model.tflite"):
        with pytest.raises(BadInputError, match="neither a TFLite nor an ONNX model") as caught:
            load(model)
        assert says in str(caught.value)


def test_models_are_told_apart(float_tflite, int8_tflite, float_onnx, masked_onnx):
    assert [format_of(m, "") for m in (float_tflite, int8_tflite)] == ["tflite"] * 2
    assert [format_of(m, "") for m in (float_onnx, masked_onnx)] == ["onnx"] * 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_model_cut_short_is_no_model(float_onnx, share):
    with pytest.raises(BadInputError, match="cut short"):
        load(float_onnx[: int(share * len(float_onnx))])


def _external(model, place):
    """The model with the first of its weights in another file, written at ``place``."""
    proto = onnx.load_model_from_string(model)
    tensor = {
        "initializer": lambda: proto.graph.initializer[0],
        "constant": lambda: _constant(proto),
        "inside an If": lambda: _inside_if(proto),
        "default of a function": lambda: _default(proto),
    }[place]()
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return proto.SerializeToString()


def _constant(proto):
    tensor = onnx.numpy_helper.from_array(np.zeros((2, 2), np.float32), "c")
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=tensor))
    return proto.graph.node[0].attribute[0].t


def _default(proto):
    attribute = proto.functions.add(name="f", domain="d").attribute_proto.add(name="a", type=4)
    attribute.t.CopyFrom(onnx.numpy_helper.from_array(np.zeros((2, 2), np.float32), "c"))
    return attribute.t


def _inside_if(proto):
    branch = onnx.helper.make_graph([], "branch", [], [], [onnx.numpy_helper.from_array(np.zeros((2, 2), "f4"), "c")])
    proto.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    return proto.graph.node[-1].attribute[0].g.initializer[0]


@pytest.mark.parametrize("place", ["initializer", "constant", "inside an If", "default of a function"])
def test_weights_in_other_files_are_refused(place, float_onnx, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(os.urandom(4096))
    with pytest.raises(BadInputError, match="keeps weights in other files"):
        load(_external(float_onnx, place))


def _field(number, wire):
    return bytes([number << 3 | wire])


UNKNOWN_GROUP = _field(15, 3) + _field(1, 0) + b"\x05" + _field(2, 3) + _field(2, 4) + _field(15, 4)


def _graph_after(start, model):
    """The model with these bytes at the start of its graph."""
    proto = onnx.load_model_from_string(model)
    graph = start + proto.graph.SerializeToString()
    proto.ClearField("graph")
    return proto.SerializeToString() + _field(7, 2) + bytes([len(graph) & 127 | 128, len(graph) >> 7]) + graph


def test_what_a_parser_skips_hides_nothing(float_onnx, batch, expected):
    np.testing.assert_allclose(load(_graph_after(UNKNOWN_GROUP, float_onnx))(batch), expected, atol=1e-5)
    with pytest.raises(BadInputError, match="keeps weights in other files"):
        load(_graph_after(UNKNOWN_GROUP, _external(float_onnx, "initializer")))


@pytest.mark.parametrize("start", [_field(15, 3), _field(15, 4), _field(15, 6), _field(0, 0) + b"\0", b"\xff" * 12])
def test_what_the_scan_cannot_read_is_refused(start, float_onnx):
    with pytest.raises(BadInputError, match="damaged"):
        load(_graph_after(start, _external(float_onnx, "initializer")))


def test_a_model_that_only_mentions_a_location_is_loaded(float_onnx, batch, expected):
    proto = onnx.load_model_from_string(float_onnx)
    proto.metadata_props.add(key="location", value="Paris")
    np.testing.assert_allclose(load(proto.SerializeToString())(batch), expected, atol=1e-5)
