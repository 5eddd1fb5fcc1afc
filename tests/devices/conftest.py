"""Models of a few numbers, and a held-out set that they answer."""

import numpy as np
import pytest

from perceiver_edge.proof.held_out import HeldOut


@pytest.fixture
def held_out():
    """Six samples of four numbers; the reference is the identity."""
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    return HeldOut(inputs={"input": values}, reference=values, labels=None, source="noise", is_random=True)
