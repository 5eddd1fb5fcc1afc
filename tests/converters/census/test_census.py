"""What the census counts, on graphs small enough to count by hand."""

import json

import pytest

from perceiver_edge.converters.census.graph import Gemm, Graph, Operator, Tensor, product
from perceiver_edge.converters.census.take import _count, census
from perceiver_edge.errors import BadInputError


def _gemm(*, weight="int8", activation="int8", macs=10, dynamic=False):
    return Gemm("g", "GEMM", weight, activation, (2, 5), macs, dynamic)


def _graph(operators, tensors, gemms=None):
    return Graph(
        format="tflite",
        format_version=3,
        versions={},
        operators=tuple(Operator(out, kind, inputs, (out,)) for kind, inputs, out in operators),
        file_operators={},
        tensors={name: Tensor(name, (1,), dtype, constant=name.startswith("w")) for name, dtype in tensors.items()},
        inputs=(),
        outputs=(),
        gemms=gemms or {},
        weight_bytes={},
        quantizers=frozenset({"Q"}),
        dequantizers=frozenset({"DQ"}),
    )


@pytest.mark.parametrize(
    ("gemm", "integer"),
    [
        (_gemm(), True),
        (_gemm(activation="uint8"), True),
        (_gemm(activation="float32", dynamic=True), True),
        (_gemm(activation="float32"), False),  # the weight is turned into float
        (_gemm(weight="float32"), False),
    ],
)
def test_an_int8_gemm_multiplies_integers(gemm, integer):
    assert gemm.is_int8 is integer


def test_shares_by_count_and_by_macs():
    gemms = {"a": _gemm(macs=90), "b": _gemm(weight="float32", activation="float32", macs=10)}
    counted = _count(_graph([], {}, gemms))
    assert (counted.int8_gemm_share, counted.int8_gemm_mac_share) == (0.5, 0.9)


def test_no_share_is_made_up():
    assert _count(_graph([], {})).int8_gemm_share is None
    open_shape = _count(_graph([], {}, {"a": _gemm(), "b": _gemm(macs=None)}))
    assert (open_shape.int8_gemm_share, open_shape.int8_gemm_mac_share) == (1, None)


FLOAT_INT8_FLOAT = [
    ("Norm", ("x", "w"), "n"),
    ("Add", ("n", "x"), "a"),
    ("Q", ("a",), "q"),
    ("Gemm", ("q", "w8", "w"), "g"),
    ("Reshape", ("g",), "r"),
    ("DQ", ("r",), "d"),
    ("Softmax", ("d",), "s"),
]
DTYPES = {
    **dict.fromkeys(("x", "w", "n", "a", "d", "s"), "float32"),
    **dict.fromkeys(("q", "w8", "g", "r"), "int8"),
}


def test_float_islands_are_the_regions_between_quantizers():
    counted = _count(_graph(FLOAT_INT8_FLOAT, DTYPES, {"g": _gemm()}))
    assert [island.operators for island in counted.float_islands] == [{"Add": 1, "Norm": 1}, {"Softmax": 1}]
    assert (counted.quantize_count, counted.dequantize_count) == (1, 1)


def test_an_int8_gemm_with_float_ends_separates_islands():
    operators = [("Norm", ("x",), "n"), ("Hybrid", ("n", "w8"), "d"), ("Softmax", ("d",), "s")]
    gemms = {"d": _gemm(activation="float32", dynamic=True)}
    assert [island.size for island in _count(_graph(operators, DTYPES, gemms)).float_islands] == [1, 1]
    joined = {"d": _gemm(activation="float32"), "elsewhere": _gemm()}
    assert [island.size for island in _count(_graph(operators, DTYPES, joined)).float_islands] == [3]


def test_a_float_model_has_no_islands():
    gemms = {"n": _gemm(weight="float32", activation="float32")}
    assert _count(_graph([("Gemm", ("x", "w"), "n")], DTYPES, gemms)).float_islands == ()


def test_a_dequantised_weight_is_named_and_a_dequantised_activation_is_not():
    operators = [("DQ", ("w8",), "d"), ("Q", ("x",), "q"), ("DQ", ("q",), "s")]
    assert _count(_graph(operators, DTYPES)).weights_dequantized_at_runtime == ("d",)


def test_operators_are_counted_by_input_dtype():
    operators = [("Add", ("x",), "a"), ("Add", ("q",), "g"), ("Add", ("w8", "x"), "n")]  # the constant does not count
    assert _count(_graph(operators, DTYPES)).operators_by_dtype == {"Add": {"float32": 2, "int8": 1}}


def test_a_census_is_json():
    json.dumps(_count(_graph(FLOAT_INT8_FLOAT, DTYPES, {"g": _gemm()})).to_dict())


def test_product_of_an_open_shape_is_unknown():
    assert (product((2, 3)), product(()), product((2, -1)), product(None)) == (6, 1, None, None)


@pytest.mark.parametrize("damage", [b"", b"not a model", b"\x1c\0\0\0TFL3" + b"\xff" * 200])
def test_what_is_no_model_is_bad_input(damage):
    with pytest.raises(BadInputError):
        census(damage)
