"""Every chunk of tokens is a sample of the whole, up to the highest frequency that positions have."""

import numpy as np
import pytest

from perceiver_edge.fourier import fourier_encoding
from perceiver_edge.lowering.chunk_keys import token_order


@pytest.mark.parametrize(("tokens", "chunks"), [(50176, 14), (12288, 2), (65536, 8), (48, 8), (6, 2), (7, 7), (2, 2)])
def test_every_token_once(tokens, chunks):
    order = token_order(tokens, chunks)
    assert np.array_equal(np.sort(order), np.arange(tokens))
    assert order.dtype == np.int32


def test_one_chunk_moves_nothing():
    assert np.array_equal(token_order(10, 1), np.arange(10))


@pytest.mark.parametrize(
    ("shape", "bands", "max_freq", "chunks"),
    [((224, 224), 64, 224.0, 14), ((224, 224), 6, 10.0, 7), ((12288,), 32, 12288.0, 2), ((16, 64, 64), 6, 32.0, 8)],
    ids=["paper", "readme", "audio", "video"],
)
def test_no_chunk_sees_one_phase_of_a_position(shape, bands, max_freq, chunks):
    tokens = int(np.prod(shape))
    positions = fourier_encoding(shape, num_bands=bands, max_freq=max_freq, freq_base=2.0).reshape(tokens, -1)
    positions = positions - positions.mean(axis=0)

    def largest_mean(order: np.ndarray) -> float:
        return float(np.abs(positions[order].reshape(chunks, tokens // chunks, -1).mean(axis=1)).max())

    assert largest_mean(token_order(tokens, chunks)) < 0.05
    if shape == (224, 224) and bands == 64:
        assert largest_mean(np.arange(tokens).reshape(-1, chunks).T.ravel()) > 0.5  # every 14th


def test_one_order_for_one_number_of_tokens():
    """Two forms of a model, with more chunks and fewer, see the tokens alike."""
    assert np.array_equal(token_order(50176, 7), token_order(50176, 14))
