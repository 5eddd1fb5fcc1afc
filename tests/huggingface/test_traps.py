"""What is easy to get wrong in a Perceiver of transformers: each mistake moves the result, so golden files see it."""

from dataclasses import replace

import numpy as np
import pytest

from perceiver_edge.lowering import fourier_features as features
from perceiver_edge.lowering import plain_huggingface as reader
from perceiver_edge.lowering import read_huggingface as layers
from perceiver_edge.lowering import tokens
from perceiver_edge.lowering.program import CrossAttention, FeedForward, Norm, SelfAttention, map_blocks

SEEN = 1e-3
"""Relative L2 that a mistake causes at least; the import itself agrees to 1e-6."""


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


def cosines_first(program):
    """After the raw positions, and before the sines."""
    raw, bands = 2, 2 * reader.FOURIER_BANDS
    order = [*range(raw), *range(raw + bands, raw + 2 * bands), *range(raw, raw + bands)]
    return source(positions=program.sources[0].positions[:, order])(program)


def positions_before_pixels(program):
    """The encoder's weights for tokens whose channels begin with the positions."""
    shift = program.sources[0].positions.shape[1]

    def rolled(linear):
        return replace(linear, weight=np.roll(linear.weight, shift, axis=0))

    def rewrite(block):
        if not isinstance(block, CrossAttention):
            return block
        norm = Norm(np.roll(block.context_norm.gamma, shift), np.roll(block.context_norm.beta, shift))
        return replace(block, context_norm=norm, key=rolled(block.key), value=rolled(block.value))

    return encoder(lambda program: map_blocks(program, rewrite))(program)


def keys_for_values(program):
    def rewrite(block):
        if isinstance(block, SelfAttention):
            query, key, value = block.projections
            return replace(block, projections=(query, value, key))
        return block

    return map_blocks(program, rewrite)


def padded_as_in_jax(program):
    """``SAME`` of a window of 7 with stride 2: two zeros before an even side, three after it."""
    (convolution,) = program.sources[0].stem
    kernel = np.pad(convolution.kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    return source(stem=(replace(convolution, kernel=kernel),))(program)


def label_as_given(program):
    """The label's token is the label, zeros here, and not what masks it."""
    *others, label = program.sources
    return replace(program, sources=(*others, replace(label, rows=np.zeros_like(label.rows))))


def another_order_of_modalities(program):
    """No mistake: transformers sorts them by name, but the encoder does not see the order of its tokens."""
    audio, image, label = program.sources
    return replace(program, sources=(image, audio, label))


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
        pytest.param(("gelu_of_negatives", on(FeedForward, activation="gelu_tanh"), SEEN), id="GELU by tanh"),
        pytest.param(("fourier_relu", on(FeedForward, activation="gelu"), SEEN), id="hidden_act ignored"),
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
        pytest.param(("sequence_classification", decoder(NO_RESIDUAL), SEEN), id="none in a text classifier"),
        pytest.param(("multimodal", decoder(RESIDUAL), SEEN), id="residual in a multimodal decoder"),
        pytest.param(("multimodal", label_as_given, SEEN), id="label as given"),
        pytest.param(("fourier", cosines_first, SEEN), id="cosines before sines"),
        pytest.param(("fourier", positions_before_pixels, SEEN), id="positions before pixels"),
        pytest.param(("fourier", keys_for_values, SEEN), id="keys for values"),
        pytest.param(("conv", padded_as_in_jax, SEEN), id="padded as in JAX"),
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


def test_features_are_float32(monkeypatch):
    """Exact ones are too near to be seen in an output: the table itself is held to what transformers computes."""
    table = features.fourier_features((224, 224), (224, 224), bands=64)
    monkeypatch.setattr(features.np, "float32", np.float64)
    exact = features.fourier_features((224, 224), (224, 224), bands=64)
    assert 1e-6 < np.abs(table - exact).max() < 1e-4
    assert np.array_equal(table, table.astype("f4"))


def test_batch_normalisation_has_the_epsilon_of_torch(named_case, plain, off, monkeypatch):
    """1e-3 is that of Keras; it shows where variances are small."""
    case = named_case("conv_small_variances")
    monkeypatch.setattr(layers, "BATCH_NORM_EPSILON", 1e-3)
    assert off(plain(case), case) > SEEN


@pytest.mark.parametrize("changes", [{"image_size": 12}, {"num_frames": 16}], ids=str)
def test_frequencies_of_a_video_are_those_of_the_configuration(changes, named_case, plain, off):
    """Not those of the video's own size."""
    case = named_case("multimodal")
    assert off(plain(replace(case, config=replace(case.config, **changes))), case) > SEEN


def test_a_table_of_another_size_is_interpolated_smoothly(named_case, plain, off, monkeypatch):
    def nearest(table, shape):
        side = round(len(table) ** 0.5)
        rows, columns = (np.arange(size) * side // size for size in shape)
        return table.reshape(side, side, -1)[rows][:, columns].reshape(-1, table.shape[1])

    case = named_case("learned_larger")
    monkeypatch.setattr(reader, "bicubic", nearest)
    assert off(plain(case), case) > SEEN


def test_the_order_of_modalities_decides_nothing(named_case, plain, off):
    case = named_case("multimodal")
    assert off(another_order_of_modalities(plain(case)), case) < 1e-6


def test_a_text_without_a_symbol_attends_to_all_of_it(named_case, plain, off):
    """The mask is a finite number that is added, so that what is masked everywhere is masked nowhere."""
    case = named_case("masked_lm_all_masked")
    assert off(plain(case), case) < 1e-12
    assert off(plain(case), case, np.arange(40)[None] < 1) > SEEN


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
