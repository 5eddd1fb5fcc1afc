"""Programs with random weights, and what it takes to run and to compare them.

Nothing in these weights is neutral: normalisations scale and shift, every bias that exists is non-zero. With ones and
zeros a rule that forgets a term would still look exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from perceiver_edge.checkpoints import expected_shapes
from perceiver_edge.config import PerceiverConfig
from perceiver_edge.lowering import Program, plain_program
from perceiver_edge.lowering.execute import LoweredPerceiver


@pytest.fixture(scope="session")
def execute() -> Callable[..., np.ndarray]:
    """Run a program eagerly on inputs ``[batch, *axes, channels]``."""

    def run(
        program: Program, inputs: np.ndarray, mask: np.ndarray | None = None, *, dtype: tf.DType = tf.float64
    ) -> np.ndarray:
        module = LoweredPerceiver(program, dtype=dtype)
        return module(tf.constant(inputs, dtype), None if mask is None else tf.constant(mask)).numpy()

    return run


@pytest.fixture(scope="session")
def relative_l2() -> Callable[[np.ndarray, np.ndarray], float]:
    def error(got: np.ndarray, expected: np.ndarray) -> float:
        assert got.shape == expected.shape
        return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))

    return error


@pytest.fixture(scope="session")
def random_weights() -> Callable[[PerceiverConfig], dict[str, np.ndarray]]:
    def draw(config: PerceiverConfig) -> dict[str, np.ndarray]:
        random = np.random.default_rng(7)

        def tensor(shape: tuple[int, ...]) -> np.ndarray:
            bound = 1.0 if len(shape) == 1 else shape[1] ** -0.5
            return random.uniform(-bound, bound, shape).astype(np.float32)

        weights = {name: tensor(shape) for name, shape in expected_shapes(config).items()}
        return weights | {name: 1 + w / 2 for name, w in weights.items() if is_gamma(name, w)}

    def is_gamma(name: str, weight: np.ndarray) -> bool:
        return name.endswith(".weight") and weight.ndim == 1

    return draw


@pytest.fixture(scope="session")
def plain(tiny_config, random_weights) -> Callable[..., Program]:
    """The plain program of the grid's default configuration with some fields replaced, on a 3×4 input."""

    def make(*, input_shape: tuple[int, ...] = (3, 4), **changes: object) -> Program:
        config = tiny_config(**changes)
        return plain_program(config, random_weights(config), input_shape)

    return make


@dataclass(frozen=True, eq=False)
class Product:
    """One matrix product of a traced program. ``is_projection``: with weights, and not inside attention."""

    is_projection: bool
    macs: int


@dataclass(frozen=True, eq=False)
class Traced:
    """``constants``: how many different arrays the program reads."""

    products: tuple[Product, ...]
    constants: int

    @property
    def macs(self) -> int:
        return sum(product.macs for product in self.products)


@pytest.fixture(scope="session")
def traced() -> Callable[[Program], Traced]:
    """What really runs for a batch of one, read from TensorFlow's graph."""

    def trace(program: Program) -> Traced:
        spec = tf.TensorSpec((1, *program.sources[0].shape), tf.float32)
        module = LoweredPerceiver(program)
        graph = tf.function(module, autograph=False).get_concrete_function(spec).graph
        return Traced(tuple(products(graph)), len(graph.captures))

    def products(graph: tf.Graph) -> Iterator[Product]:
        for op in graph.get_operations():
            if op.type in ("MatMul", "BatchMatMulV2"):
                is_projection = op.type == "MatMul"
                transposed = op.get_attr("transpose_a" if is_projection else "adj_x")
                inner = op.inputs[0].shape[-2 if transposed else -1]
                yield Product(is_projection, int(np.prod(op.outputs[0].shape)) * inner)

    return trace
