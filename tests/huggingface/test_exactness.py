"""The plain program of every architecture is transformers' model, and every rule keeps what it computes."""

import pytest
import tensorflow as tf

from perceiver_edge.lowering import RULES, chunk_heads, chunk_rows, drop_maximum, lower, separate_padding
from perceiver_edge.lowering.execute import LoweredPerceiver
from perceiver_edge.lowering.program import Extent, SelfAttention
from perceiver_edge.lowering.source import AxisPositions

IMPORT_TOLERANCE = 1e-6
"""Of the plain program in float64. Sines of positions are float32 in transformers; all else agrees to 1e-15."""


def test_the_plain_program_is_the_model_of_transformers(case, plain, off):
    assert off(plain(case), case) < IMPORT_TOLERANCE


def test_lowering_keeps_what_is_computed(case, plain, run, error):
    program = plain(case)
    wanted = run(program, case)
    for rule in RULES:
        program, _ = rule(program)
        assert error(run(program, case), wanted) < 1e-12, rule.__name__


def test_in_chunks_too(case, plain, run, error):
    program = plain(case)
    lowered, _ = lower(program, optimize_for="memory")
    assert error(run(lowered, case), run(program, case)) < 1e-12


def test_lowering_twice_changes_nothing(case, plain):
    lowered, _ = lower(plain(case))
    again, decisions = lower(lowered)
    assert again is lowered
    assert not any(decision.applied for decision in decisions)


def test_blocks_that_share_weights_stay_shared(named_case, plain):
    program, _ = lower(plain(named_case("fourier")))
    assert program.encoder.layers[1] is program.encoder.layers[2]


def test_a_single_query_absorbs_keys_and_values(named_case, plain):
    """The decoder of a classifier: one constant row asks all latents."""
    program, _ = lower(plain(named_case("fourier")))
    (decode,) = program.stacks[1].cross_attentions()
    assert decode.key is decode.value is None
    assert decode.query.shape == (1, 32)


@pytest.fixture
def small_limits(monkeypatch):
    """So that small models are divided as the published ones are."""
    monkeypatch.setattr(chunk_rows, "MOST_BYTES", 1 << 10)
    monkeypatch.setattr(chunk_rows, "CHUNK_BYTES", 2 << 10)
    monkeypatch.setattr(chunk_heads, "MOST_BYTES", 1 << 9)
    monkeypatch.setattr(drop_maximum, "CHUNK_BYTES", 1 << 9)
    monkeypatch.setattr(drop_maximum, "FEW_ROWS", 1)
    monkeypatch.setattr(separate_padding, "FEWEST", 1)


def test_pixels_that_ask_are_the_pixels_that_are_asked(named_case, plain):
    """The flow's queries are its tokens: normalised once, in float, positions kept once, and no projection of them."""
    program, _ = lower(plain(named_case("flow")))
    (decode,) = program.stacks[1].cross_attentions()
    assert decode.norm is decode.query is decode.output is None
    assert decode.key.weight.shape == (program.encoder.rows.shape[1], program.context_channels + 1)
    assert isinstance(program.sources[0].positions, AxisPositions)


def test_what_is_divided_computes_the_same(case, plain, run, error, small_limits):
    program = plain(case)
    lowered, _ = lower(program)
    assert any(block.parts > 1 for _, block in lowered.named_blocks() if isinstance(block, SelfAttention))
    assert error(run(lowered, case), run(program, case)) < 1e-12


def test_many_queries_ask_in_chunks_that_are_made_line_by_line(named_case, plain, small_limits):
    """Neither the tokens nor their normalised form exist as a whole."""
    case = named_case("flow")
    lowered, _ = lower(plain(case))
    assert lowered.stacks[1].row_chunks > 4
    assert not lowered.encoder.cross_attentions()[0].has_maximum
    module = LoweredPerceiver(lowered)
    signature = tf.TensorSpec((1, *lowered.sources[0].shape), tf.float32)
    graph = tf.function(module, autograph=False).get_concrete_function(signature).graph
    whole = lowered.tokens * lowered.context_channels
    assert max(tensor.shape.num_elements() or 0 for op in graph.get_operations() for tensor in op.outputs) < whole


def test_what_pads_a_modality_is_multiplied_with_once(named_case, plain, run, error, small_limits):
    case = named_case("multimodal")
    program = plain(case)
    lowered, _ = lower(program)
    audio, image, _ = lowered.sources
    assert (len(audio.padding), len(image.padding)) == (4, 163)  # of two places a cosine is the same
    assert audio.channels == image.channels == program.context_channels
    module = LoweredPerceiver(lowered)
    signature = {source.name: tf.TensorSpec((1, *source.shape), tf.float32) for source in lowered.inputs}
    graph = tf.function(module, autograph=False).get_concrete_function(signature).graph
    shapes = {tuple(tensor.shape) for op in graph.get_operations() for tensor in op.outputs}
    assert (1, image.channels - len(image.padding) + 2, image.tokens) in shapes
    assert not {(1, image.channels + more, image.tokens) for more in (0, 1)} & shapes
    assert error(run(lowered, case), run(program, case)) < 1e-12


def test_the_published_flow_asks_in_chunks(named_case, plain):
    """182,528 pixels ask 2,048 latents: 1.5 GB of scores."""
    stack = plain(named_case("flow")).stacks[1]
    extent = Extent(rows=368 * 496, width=322, tokens=2048, channels=512)
    chunks = chunk_rows._chunked(stack, extent, lines=1).row_chunks
    assert 368 * 496 % chunks == 0
    assert 4 * 368 * 496 * 2048 // chunks <= chunk_rows.CHUNK_BYTES
