"""Attention to padded sources: chunks of as many tokens as are allowed, whatever divides the tokens."""

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.lowering import padded_attention
from perceiver_edge.lowering.context import Narrow

TOKENS = 13


@pytest.mark.parametrize(("most_tokens", "chunks"), [(5, 3), (12, 2), (13, 1), (100, 1)])
@pytest.mark.parametrize(("is_masked", "ceiling"), [(False, None), (True, None), (True, 0.1)])
def test_a_prime_number_of_tokens_is_divided(most_tokens, chunks, *, is_masked, ceiling, monkeypatch):
    random = np.random.default_rng(0)
    columns, query = random.standard_normal((1, 3, TOKENS)), random.standard_normal((1, 1, 2, 2))
    columns[:, -1] = 1.0
    mask = random.random((1, 1, 1, TOKENS)) < 0.5 if is_masked else np.ones((1, 1, 1, TOKENS), bool)
    products = []
    matmul = tf.matmul
    monkeypatch.setattr(tf, "matmul", lambda *a, **k: products.append(a) or matmul(*a, **k))
    got = padded_attention.attend(
        tf.constant(query), [Narrow(tf.constant(columns))], most_tokens=most_tokens, scale=1.0,
        mask=tf.constant(mask) if is_masked else None, ceiling=ceiling,
    )  # fmt: skip
    assert len(products) == 2 * chunks
    weights = np.exp(query[0, 0] @ columns[0, :-1]) * mask[0, 0]
    expected = weights @ columns[0, :-1].T / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(got[0, 0], expected, rtol=1e-12)
