"""Taps: what calibration observes. Every projection shows its input and its output, under a name of its own."""

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.lowering import lower
from perceiver_edge.lowering.execute import LoweredPerceiver


def tapped(program, batch=2):
    """The taps in order, and the output."""
    inputs = np.random.default_rng(5).standard_normal((batch, *program.sources[0].shape))
    taps = []
    module = LoweredPerceiver(program, dtype=tf.float64)
    output = module(tf.constant(inputs), tap=lambda name, value: taps.append((name, value.numpy())))
    return taps, output.numpy()


def lowered(program):
    return lower(program)[0]


def test_names_of_a_plain_program_in_order_of_execution(plain):
    taps, _ = tapped(plain(depth=1))
    assert [name for name, _ in taps if name.endswith(".output")] == [
        "layers.0.cross_attn.query.output",
        "layers.0.cross_attn.key.output",
        "layers.0.cross_attn.value.output",
        "layers.0.cross_attn.output.output",
        "layers.0.cross_ff.up.output",
        "layers.0.cross_ff.down.output",
        "layers.0.self_attn.0.query.output",
        "layers.0.self_attn.0.key.output",
        "layers.0.self_attn.0.value.output",
        "layers.0.self_attn.0.output.output",
        "layers.0.self_ff.0.up.output",
        "layers.0.self_ff.0.down.output",
        "classifier.output",
    ]


def test_names_of_a_lowered_program_in_order_of_execution(plain):
    taps, _ = tapped(lowered(plain(depth=2, cross_dim_head=40, self_per_cross_attn=0)))
    assert [name for name, _ in taps if name.endswith(".input")] == [
        "layers.0.cross_attn.output.input",  # its query is a constant, its keys and values are absorbed
        "layers.0.cross_ff.up.input",
        "layers.0.cross_ff.down.input",
        "layers.1.cross_attn.query.input",
        "layers.1.cross_attn.output.input",
        "layers.1.cross_ff.up.input",
        "layers.1.cross_ff.down.input",
        "classifier.input",
    ]


def test_a_projection_that_tied_layers_share_is_seen_once(plain):
    taps, _ = tapped(lowered(plain(depth=4, weight_tie_layers=True, cross_dim_head=2, input_channels=20)))
    names = [name for name, _ in taps if name.endswith(("key.output", "value.output")) and "cross" in name]
    assert names == [f"layers.{i}.cross_attn.{part}.output" for i in (0, 1) for part in ("key", "value")]


@pytest.mark.parametrize("form", [lambda program: program, lowered], ids=["plain", "lowered"])
@pytest.mark.parametrize(
    "config",
    [{}, {"cross_heads": 2, "depth": 3, "weight_tie_layers": True}, {"final_classifier_head": False}],
    ids=["default", "tied", "latents_out"],
)
def test_every_projection_shows_its_input_and_its_output(form, config, plain, traced):
    program = form(plain(**config))
    taps, _ = tapped(program)
    names = [name for name, _ in taps]
    assert len(set(names)) == len(names)
    hulls = [name for name in names if name.endswith(".hull")]
    assert hulls == [name for name in names if name.endswith("cross_attn.output.hull")]
    assert len(hulls) == len(program.cross_attentions())
    names = [name for name in names if name not in hulls]
    assert names[0::2] == [name.removesuffix("output") + "input" for name in names[1::2]]
    assert len(names) == 2 * sum(product.is_projection for product in traced(program).products)


def test_input_times_weight_plus_bias_is_output(plain):
    program = lowered(plain(depth=1))
    values = dict(tapped(program)[0])
    classifier = program.output.projection
    np.testing.assert_allclose(
        values["classifier.output"], values["classifier.input"] @ classifier.weight + classifier.bias, rtol=1e-12
    )


def test_the_last_tap_is_the_output_and_observing_changes_nothing(plain, execute):
    program = lowered(plain())
    taps, output = tapped(program, batch=1)
    assert np.array_equal(taps[-1][1], output)
    inputs = np.random.default_rng(5).standard_normal((1, *program.sources[0].shape))
    assert np.array_equal(execute(program, inputs), output)


@pytest.mark.parametrize("form", [lambda program: program, lowered], ids=["plain", "lowered"])
def test_what_a_cross_attend_returns_lies_within_its_hull(form, plain):
    values = dict(tapped(form(plain(cross_heads=2)))[0])
    for name, hull in values.items():
        if name.endswith(".hull"):
            inside = values[name.removesuffix("hull") + "input"]
            assert hull.min() - 1e-9 <= inside.min()
            assert inside.max() <= hull.max() + 1e-9
