"""Where the constants of a file lie, and which versions of operators it asks for: what older runtimes read."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from perceiver_edge.converters.census.take import census
from perceiver_edge.converters.tflite.pack import pack
from perceiver_edge.converters.tflite.quantize import tflite_dynamic, tflite_fp16
from perceiver_edge.runtime import load

CASE = "image_non_square"


@pytest.fixture(scope="module")
def made(subject):
    """The model in every precision."""
    model = subject(CASE)
    return {
        "fp32": model.tflite,
        "fp16": tflite_fp16(model.tflite),
        "dynamic": tflite_dynamic(model.tflite),
        "int8": model.tflite_int8,
    }


PRECISIONS = ("fp32", "fp16", "dynamic", "int8")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_constants_lie_inside_of_the_flatbuffer_aligned(made, precision):
    content = made[precision]
    root = schema.Model.GetRootAs(content, 0)
    buffers = [root.Buffers(index) for index in range(root.BuffersLength())]
    assert all(buffer.Offset() == 0 and buffer.Size() == 0 for buffer in buffers)
    addresses = [buffer.DataAsNumpy().ctypes.data for buffer in buffers if buffer.DataLength()]
    start = np.frombuffer(content, np.uint8).ctypes.data
    assert len(addresses) > 20
    assert {(address - start) % 16 for address in addresses} == {0}


@pytest.mark.parametrize(
    ("precision", "version"), [("fp32", 1), ("fp16", 1), ("dynamic", 12), ("int8", 4)], ids=PRECISIONS
)
def test_products_ask_for_the_version_that_knows_their_types(made, precision, version):
    """As TensorFlow's own table says: a runtime without weights per channel must not take a dynamic model."""
    assert census(made[precision]).versions["FULLY_CONNECTED"] == version


def test_conversions_between_types_ask_for_theirs(made):
    assert census(made["fp16"]).versions["DEQUANTIZE"] == 3
    assert census(made["int8"]).versions["DEQUANTIZE"] == 2
    assert census(made["int8"]).versions["QUANTIZE"] == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_packing_what_was_unpacked_changes_nothing(made, precision, subject):
    content = made[precision]
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    again = pack(model)
    assert pack(model) == again
    feeds = subject(CASE).feeds
    np.testing.assert_array_equal(load(again)(feeds), load(content)(feeds))
