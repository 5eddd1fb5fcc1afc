"""Weights that are rounded by what their product is fed: nearer to the product, and never on a pair that saturates."""

import numpy as np
import pytest

from perceiver_edge.converters.onnx.unsaturated import LARGEST_PAIR, largest_magnitudes, largest_pairs
from perceiver_edge.converters.rounding import DAMPING, MOST, inputs_of, rounded

SIZES = {"odd": (63, 40), "wide": (64, 200), "one input": (1, 5), "one output": (128, 1)}


def alike(rows, width, seed):
    """Inputs as latents give them: a few directions say nearly all."""
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(max(width // 8, 1), width))
    noise = random.normal(size=(rows, width)) / 20
    return (random.normal(size=(rows, len(directions))) @ directions + noise + 0.3).astype(np.float32)


def weights(size):
    weight = np.random.default_rng(1).uniform(-1, 1, size).astype(np.float32)
    return weight, largest_magnitudes(weight) / MOST


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_no_pair_saturates(size):
    weight, scale = weights(size)
    whole = rounded(weight, scale, alike(300, size[0], 1), largest_pair=LARGEST_PAIR).astype(int)
    assert np.abs(whole).max() <= MOST
    assert largest_pairs(whole).max() <= LARGEST_PAIR


def test_products_of_other_inputs_are_nearer_than_each_weight_rounded_on_its_own():
    weight, scale = weights((64, 200))
    others = alike(300, 64, 2).astype(np.float64)
    whole = rounded(weight, scale, alike(300, 64, 1))
    exact = others @ weight
    off = [np.linalg.norm(others @ (steps * scale) - exact) for steps in (whole, np.rint(weight / scale))]
    assert off[0] < 0.45 * off[1]


def test_what_later_weights_make_good_is_reckoned_with():
    """The greedy rule, which looks back only at what is alike in pairs, leaves a fifth more."""
    weight, scale = weights((64, 200))
    inputs = alike(300, 64, 1)
    off = [
        np.linalg.norm(inputs @ (whole * scale - weight))
        for whole in (rounded(weight, scale, inputs), greedy(weight / scale, inputs))
    ]
    assert off[0] < 0.9 * off[1]


def greedy(steps, inputs):
    products = inputs.T @ inputs
    power = products.diagonal() + DAMPING * products.diagonal().mean()
    whole = np.zeros_like(steps)
    for index in range(len(steps)):
        whole[index] = np.rint(steps[index] + products[index, :index] @ (steps - whole)[:index] / power[index])
    return whole


def test_inputs_of_a_shared_weight_do_not_depend_on_the_order_of_its_sites():
    inputs = {name: np.full((2, 3), index, np.float32) for index, name in enumerate("abc")}
    assert np.array_equal(inputs_of(["c", "a"], inputs), inputs_of(["a", "none", "c"], inputs))
    assert len(inputs_of(["c", "a"], inputs)) == 4
    assert inputs_of(["none"], inputs) is None


def test_inputs_without_likeness_leave_little_to_gain_and_nothing_to_lose():
    weight, scale = weights((64, 200))
    random = np.random.default_rng(3)
    whole = rounded(weight, scale, random.normal(size=(1024, 64)).astype(np.float32))
    assert np.abs(whole - weight / scale).max() < 2
    others = random.normal(size=(500, 64))
    off = [np.linalg.norm(others @ (steps * scale - weight)) for steps in (whole, np.rint(weight / scale))]
    assert off[0] < 1.2 * off[1]


def test_channels_that_are_silent_are_rounded_on_their_own():
    weight, scale = weights((64, 200))
    inputs = alike(300, 64, 1)
    inputs[:, 7] = 0
    assert np.array_equal(rounded(weight, scale, inputs)[7], np.rint(weight / scale)[7])
    assert np.array_equal(rounded(weight, scale, np.zeros_like(inputs)), np.rint(weight / scale))
