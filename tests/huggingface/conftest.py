"""Small models of Hugging Face's architectures, and running a program on their inputs."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
from safetensors.numpy import save_file

from perceiver_edge.lowering import Program, plain_program
from perceiver_edge.lowering.execute import LoweredPerceiver

GOLDEN = Path(__file__).parents[1] / "golden" / "huggingface.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_huggingface", GOLDEN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


golden = _load()


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The script that made the stored outputs; needs transformers."""
    spec = importlib.util.spec_from_file_location("make_huggingface", GOLDEN.with_name("make_huggingface.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(GOLDEN.parent))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=golden.names())
def case(request):
    return golden.load(request.param)


@pytest.fixture
def named_case():
    return golden.load


@pytest.fixture
def expected() -> Callable[[str], np.ndarray]:
    return golden.expected


@pytest.fixture
def plain() -> Callable[..., Program]:
    return lambda case: plain_program(case.config, case.weights, case.input_shape)


@pytest.fixture
def run() -> Callable[..., np.ndarray]:
    """A program in float64 on a case's inputs, without the batch."""

    def run(program: Program, case, mask: np.ndarray | None = None) -> np.ndarray:
        inputs = {
            name: tf.constant(values, tf.int32 if case.config.vocabulary else tf.float64)
            for name, values in {"input": case.inputs, **case.beside}.items()
        }
        mask = case.mask if mask is None else mask
        module = LoweredPerceiver(program, dtype=tf.float64)
        return module(inputs, None if mask is None else tf.constant(mask)).numpy()[0]

    return run


@pytest.fixture
def error() -> Callable[[np.ndarray, np.ndarray], float]:
    """Relative L2."""

    def error(got: np.ndarray, wanted: np.ndarray) -> float:
        assert got.shape == wanted.shape
        return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))

    return error


@pytest.fixture
def folder(tmp_path) -> Callable[..., Path]:
    """A case as ``save_pretrained`` would write it."""

    def write(case, *, dtype: type = np.float32, **changes: object) -> Path:
        path = tmp_path / case.name
        path.mkdir()
        (path / "config.json").write_text(json.dumps({**case.values, "transformers_version": "5.24.0", **changes}))
        save_file({name: weight.astype(dtype) for name, weight in case.weights.items()}, path / "model.safetensors")
        return path

    return write


@pytest.fixture
def off(run, error) -> Callable[..., float]:
    """How far a program is from what transformers computes for a case, relative L2."""
    return lambda program, case, mask=None: error(run(program, case, mask), golden.expected(case.name))
