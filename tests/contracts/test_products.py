"""Integer products at the corners of their operands and sums, in the forms that the converters emit, exactly."""

import numpy as np
import pytest

from perceiver_edge.devices import x86
from perceiver_edge.errors import NotRunError
from perceiver_edge.lowering.integer_core import UNSATURATED

DEPTHS = (1, 2, 3, 31, 64, 257)


def corners(depth, largest):
    """uint8 ``[1, 6, depth]``, and int8 ``[1, depth, 6]`` of which two neighbours of one sign reach ``largest``."""
    low, high = np.zeros(depth, np.uint8), np.full(depth, 255, np.uint8)
    mixed = np.where(np.arange(depth) % 2, 255, 0).astype(np.uint8)
    noise = np.random.default_rng(depth)
    left = np.stack([low, high, mixed, 255 - mixed, *noise.integers(0, 256, (2, depth), dtype=np.uint8)])
    even = np.arange(depth) % 2 == 0
    right = [np.full(depth, half * sign) for half in (largest // 2,) for sign in (1, -1)]
    right += [np.where(even, min(largest, 127), largest - min(largest, 127)), np.where(even, -min(largest, 128), 0)]
    right += list(noise.integers(-(largest // 2), largest // 2 + 1, (2, depth)))
    return left[np.newaxis], np.stack(right, axis=1).astype(np.int8)[np.newaxis]


def integer_product(onnx_model, left, right):
    """MatMulInteger of two operands that are both computed, as a core's weighted sum."""
    return onnx_model(
        [("MatMulInteger", ["a", "b", "az", "bz"], "y")],
        inputs={"a": left, "b": right},
        constants={"az": np.uint8(0), "bz": np.int8(0)},
        output=np.int32,
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_product_of_operands_at_their_corners_is_exact(onnx_model, run_onnx, depth):
    left, right = corners(depth, 2 * UNSATURATED)
    model = integer_product(onnx_model, left, right)
    got = run_onnx(model, {"a": left, "b": right})
    np.testing.assert_array_equal(got, left.astype(np.int64) @ right.astype(np.int64))


@pytest.mark.devices
@pytest.mark.parametrize("cpu", x86.CPUS, ids=lambda cpu: cpu.name)
@pytest.mark.parametrize("depth", DEPTHS)
def test_it_is_exact_on_an_emulated_processor(onnx_model, cpu, depth):
    left, right = corners(depth, 2 * UNSATURATED)
    model = integer_product(onnx_model, left, right)
    try:
        got = x86.outputs(model, {"a": left, "b": right}, cpu=cpu, runtime="contract")
    except NotRunError as error:
        pytest.skip(str(error))
    np.testing.assert_array_equal(got, left.astype(np.int64) @ right.astype(np.int64))


@pytest.mark.devices
def test_full_int8_would_saturate_on_avx2(onnx_model):
    """Why all this is done: should it ever be mended in ONNX Runtime, this says so."""
    left, right = np.full((1, 1, 64), 255, np.uint8), np.full((1, 64, 1), 127, np.int8)
    (haswell,) = (cpu for cpu in x86.CPUS if cpu.name == "haswell")
    try:
        got = x86.outputs(integer_product(onnx_model, left, right), {"a": left, "b": right}, cpu=haswell, runtime="c")
    except NotRunError as error:
        pytest.skip(str(error))
    assert got.item() < 255 * 127 * 64
