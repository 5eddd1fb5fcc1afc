"""The plain program of every architecture is transformers' model, and every rule keeps what it computes."""

from perceiver_edge.lowering import RULES, lower

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
