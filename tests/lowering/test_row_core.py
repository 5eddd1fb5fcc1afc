"""Attention among rows in its int8 form: the same function, whatever the values are centred by and multiplied with."""

import numpy as np
import pytest

from perceiver_edge.lowering import lower, row_core
from perceiver_edge.lowering.program import SelfAttention
from perceiver_edge.lowering.row_core import Centring, row_blocks, with_row_cores

INPUTS = np.random.default_rng(0).standard_normal((2, 3, 4, 3))
HEADS = {"latent_heads": 2, "latent_dim_head": 4, "self_per_cross_attn": 2}
TIED = HEADS | {"depth": 4, "weight_tie_layers": True}


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(row_core, "LEAST_PRODUCTS", 0)


def centred(program, without=(), *, shifted="no use"):
    """By the same of every use of a layer; all but ``without`` get the form."""
    random = np.random.default_rng(1)
    given, blocks = {}, row_blocks(program)
    for block in blocks.values():
        given.setdefault(id(block), Centring(random.standard_normal(sum(block.widths[1:])), *random.uniform(0.1, 9, 2)))
    shifts = {name: random.standard_normal(blocks[name].widths[2]) for name in blocks.keys() - without}
    if shifted == "no use":
        shifts = dict.fromkeys(shifts)
    return with_row_cores(program, {name: given[id(block)] for name, block in blocks.items()}, shifts)


@pytest.mark.parametrize("config", [HEADS, TIED], ids=["own weights", "tied"])
@pytest.mark.parametrize("shifted", ["no use", "every use"])
def test_it_is_exact_for_any_centring(config, shifted, plain, execute, relative_l2):
    program, _ = lower(plain(**config))
    rewritten = centred(program, shifted=shifted)
    blocks = [block for _, block in rewritten.named_blocks() if isinstance(block, SelfAttention)]
    assert blocks and all(block.has_row_core for block in blocks)
    assert relative_l2(execute(rewritten, INPUTS), execute(program, INPUTS)) < 1e-9


def test_tied_layers_stay_tied(plain):
    layers = centred(lower(plain(**TIED))[0]).encoder.layers
    assert layers[1] is layers[2] is layers[3] is not layers[0]


def test_a_use_that_stays_as_it_was_is_exact_with_the_weights_of_the_others(plain, execute, relative_l2):
    program, _ = lower(plain(**TIED))
    rewritten = centred(program, {"layers.2.self_attn.1"})
    layers = rewritten.encoder.layers
    assert layers[1] is layers[3] is not layers[2]
    blocks = {name: block for name, block in rewritten.named_blocks() if isinstance(block, SelfAttention)}
    assert [name for name, block in blocks.items() if not block.has_row_core] == ["layers.2.self_attn.1"]
    one, other = (blocks[f"layers.{index}.self_attn.1"] for index in (1, 2))
    assert one.projections is other.projections and one.output is other.output
    assert relative_l2(execute(rewritten, INPUTS), execute(program, INPUTS)) < 1e-9


def test_small_attention_has_no_such_form(plain, monkeypatch):
    program, _ = lower(plain(**HEADS))
    assert row_blocks(program)
    monkeypatch.setattr(row_core, "LEAST_PRODUCTS", 1 << 24)
    assert not row_blocks(program)
