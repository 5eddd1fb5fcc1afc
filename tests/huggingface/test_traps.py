"""What is easy to get wrong in a Perceiver of transformers: each mistake moves the result, so golden files see it."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.lowering import plain_huggingface as reader
from perceiver_edge.lowering import tokens
from perceiver_edge.lowering.program import CrossAttention, FeedForward, SelfAttention, map_blocks

SEEN = 1e-3
"""Relative L2 that a mistake causes at least; the import itself agrees to 1e-6."""

SEEN_GELU = 1e-4
"""The tanh approximation of GELU is at most 5e-4 from the exact function."""


def on(kind, **changes):
    """A mistake in all blocks of one kind."""
    return lambda program: map_blocks(
        program, lambda block: replace(block, **changes) if isinstance(block, kind) else block
    )


RESIDUAL, NO_RESIDUAL = on(CrossAttention, is_residual=True), on(CrossAttention, is_residual=False)


def source(**changes):
    return lambda program: replace(program, sources=(replace(program.sources[0], **changes),))


def decoder(mistake):
    return lambda program: replace(program, stacks=(program.stacks[0], *mistake(program).stacks[1:]))


def encoder(mistake):
    return lambda program: replace(program, stacks=(mistake(program).stacks[0], *program.stacks[1:]))


def without_biases(program):
    def no_bias(linear):
        return replace(linear, bias=None)

    def rewrite(block):
        if isinstance(block, SelfAttention):
            return replace(block, projections=tuple(map(no_bias, block.projections)))
        if isinstance(block, CrossAttention):
            return replace(block, query=no_bias(block.query), key=no_bias(block.key), value=no_bias(block.value))
        return block

    return map_blocks(program, rewrite)


def positions_by_axis(program):
    """perceiver-pytorch's order: of each axis sines, cosines, position."""
    bands = reader.FOURIER_BANDS
    order = [
        index
        for axis in range(2)
        for index in (
            *range(2 + axis * bands, 2 + (axis + 1) * bands),
            *range(2 + (2 + axis) * bands, 2 + (3 + axis) * bands),
            axis,
        )
    ]
    return source(positions=program.sources[0].positions[:, order])(program)


def transposed_positions(program):
    height, width = program.sources[0].data_shape[:2]
    table = program.sources[0].positions.reshape(height, width, -1).transpose(1, 0, 2)
    return source(positions=table.reshape(height * width, -1))(program)


def stem(**changes):
    def mistake(program):
        (convolution,) = program.sources[0].stem
        return source(stem=(replace(convolution, **changes),))(program)

    return mistake


def logits_scaled(program):
    projection = program.output.projection
    return replace(
        program,
        output=replace(program.output, projection=replace(projection, weight=projection.weight * 100)),
    )


@pytest.mark.parametrize(
    "mistaken",
    [
        pytest.param(("fourier", on(FeedForward, activation="gelu_tanh"), SEEN_GELU), id="GELU by tanh"),
        pytest.param(("fourier_other_options", on(FeedForward, activation="gelu"), SEEN_GELU), id="hidden_act ignored"),
        pytest.param(("fourier", without_biases, SEEN), id="no bias on queries, keys and values"),
        pytest.param(("fourier", on(SelfAttention, scale=1.0), SEEN), id="scores not scaled"),
        pytest.param(("masked_lm", on(CrossAttention, scale=16**-0.5), SEEN), id="scaled by all channels"),
        pytest.param(("fourier_other_options", encoder(RESIDUAL), SEEN), id="query residual"),
        pytest.param(("fourier", encoder(NO_RESIDUAL), SEEN), id="no query residual"),
        pytest.param(("fourier_other_options", decoder(NO_RESIDUAL), SEEN), id="config's query "
                     "residual in the decoder"),
        pytest.param(("masked_lm_other_heads", decoder(on(CrossAttention, heads=4, scale=64**-0.5)), SEEN),
                     id="config's heads in a text decoder"),
        pytest.param(("masked_lm", decoder(RESIDUAL), SEEN), id="residual in a text decoder"),
        pytest.param(("flow", decoder(RESIDUAL), SEEN), id="residual in the flow's decoder"),
        pytest.param(("fourier", positions_by_axis, SEEN), id="position channels axis by axis"),
        pytest.param(("conv", transposed_positions, SEEN), id="positions column by column"),
        pytest.param(("masked_lm", source(adds_positions=False, positions=None), SEEN), id="no positions"),
        pytest.param(("conv", stem(scale=None), SEEN), id="no batch normalisation"),
        pytest.param(("flow", logits_scaled, SEEN), id="flow not divided by 100"),
        pytest.param(("fourier", lambda p: replace(p, stacks=(replace(p.encoder, layers=p.encoder.layers[:2]),
                     p.stacks[1])), SEEN), id="shared blocks run once"),
    ],
)  # fmt: skip
def test_a_mistake_is_seen(mistaken, named_case, plain, off):
    name, mistake, seen = mistaken
    case = named_case(name)
    assert off(mistake(plain(case)), case) > seen


def test_layer_norm_eps_of_the_configuration_is_not_used(named_case, plain, off, monkeypatch):
    """1e-12 says the file; torch's own 1e-5 is computed, which shows where values are small."""
    case = named_case("small_latents")
    program = plain(case)
    monkeypatch.setattr(tokens, "LAYER_NORM_EPSILON", 1e-12)
    assert off(program, case) > SEEN


@pytest.mark.parametrize("resolution", [(56, 56), (30, 26)])
def test_frequencies_do_not_follow_the_image(resolution, named_case, plain, off, monkeypatch):
    case = named_case("fourier")
    monkeypatch.setitem(reader.FOURIER_RESOLUTION, case.config.architecture, resolution)
    assert off(plain(case), case) > SEEN


def test_the_mask_is_of_the_tokens_and_padding_changes_nothing(named_case, plain, off):
    case = named_case("masked_lm")
    everything = np.ones_like(case.mask)
    assert off(plain(case), case, everything) > SEEN
    other = replace(case, inputs=np.where(case.mask, case.inputs, 77).astype(np.int32))
    assert off(plain(other), other) < 1e-12


def test_a_text_has_as_many_answers_as_positions_whatever_its_length(expected):
    assert expected("masked_lm_short").shape == (40, 262)


def test_the_convolution_leaves_55_positions_of_224(named_case):
    from perceiver_edge.lowering import plain_program

    case = named_case("conv")
    assert plain_program(case.config, case.weights, (224, 224)).sources[0].data_shape == (55, 55, 64)
