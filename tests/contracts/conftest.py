"""Running models of one operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from contracts import models

KERNELS = {"xnnpack": OpResolverType.BUILTIN, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
"""LiteRT's kernels: of the delegate that it takes by default, and its own."""


def _run_tflite(model: bytes, *feeds: np.ndarray, kernels: str) -> np.ndarray:
    """The output, after seeing that the operator runs in the kernels that were asked for."""
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=KERNELS[kernels])
    interpreter.allocate_tensors()
    is_delegated = "DELEGATE" in {op["op_name"] for op in interpreter._get_ops_details()}
    assert is_delegated == (kernels == "xnnpack")
    for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _run_onnx(model: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    from perceiver_edge.runtime import load

    return load(model)(feeds)


@pytest.fixture
def tflite_operator() -> Any:
    return models.tflite_operator


@pytest.fixture
def run_tflite() -> Any:
    return _run_tflite


@pytest.fixture
def onnx_model() -> Any:
    return models.onnx_model


@pytest.fixture
def run_onnx() -> Any:
    return _run_onnx
