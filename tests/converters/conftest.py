"""Models of the grid's configurations, lowered, traced and converted once for all the tests of the converters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perceiver_edge.calibration import Range, give_room, observe
from perceiver_edge.checkpoints import Checkpoint
from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.config import InputSpec


@dataclass(eq=False)
class Subject:
    """One model on its way through the converters. ``reference`` is perceiver-pytorch's output in float64."""

    deployment: Any
    feeds: dict[str, np.ndarray]
    reference: np.ndarray
    ranges: dict[str, Range]

    @property
    def sites(self) -> list[str]:
        """The model's products with weights, in order of execution."""
        return [point.removesuffix(".output") for point in self.deployment.point_names if point.endswith(".output")]

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        return {name: (value.min, value.max) for name, value in self.ranges.items()}

    @cached_property
    def tflite(self) -> bytes:
        from perceiver_edge.converters.tflite.convert import to_tflite

        return to_tflite(self.deployment.traced)

    @cached_property
    def onnx(self) -> Any:
        from perceiver_edge.converters.onnx.convert import to_onnx

        return to_onnx(self.deployment.traced)

    @cached_property
    def tflite_int8(self) -> bytes:
        from perceiver_edge.converters.tflite.quantize import tflite_int8

        return tflite_int8(self.tflite, self.limits)

    @cached_property
    def onnx_int8(self) -> Any:
        from perceiver_edge.converters.onnx.quantize import onnx_int8

        return onnx_int8(self.onnx, self.limits)


@pytest.fixture(scope="session")
def subject(pytestconfig: pytest.Config) -> Callable[[str], Subject]:
    """The `Subject` of a case of the grid, by name; batch and mask are the case's own."""
    shared = pytestconfig.pluginmanager.get_plugin(str(Path(__file__).parents[1] / "conftest.py"))
    cases = {case.name: case for case in shared.load_grid()}
    made: dict[str, Subject] = {}

    def get(name: str) -> Subject:
        if name not in made:
            made[name] = _subject(shared.load_golden(cases[name]), cases[name].input_shape)
        return made[name]

    return get


def _subject(golden: Any, input_shape: tuple[int, ...]) -> Subject:
    from perceiver_edge.compiler.deployment import deploy

    spec = InputSpec(shape=input_shape)
    checkpoint = Checkpoint(config=golden.config, input_spec=spec, weights=golden.weights)
    model = NamedModel(name="subject", checkpoint=checkpoint, input_spec=spec, is_random_weights=True, is_digits=False)
    feeds = {"input": golden.inputs} | ({} if golden.mask is None else {"mask": golden.mask})
    deployment = deploy(model, batch=len(golden.inputs), with_mask=golden.mask is not None)
    samples = [{name: values[i] for name, values in feeds.items()} for i in range(len(golden.inputs))]
    return Subject(deployment, feeds, golden.output, give_room(observe(deployment.taps, samples)))


@pytest.fixture(scope="session")
def trace_module() -> Callable[..., Any]:
    """Trace a function of a float32 ``[1, 4, 4]`` as a ``tf.Module``, its output named ``result``."""
    import tensorflow as tf

    from perceiver_edge.converters.trace import trace

    class Module(tf.Module):
        def __init__(self, function: Callable[[tf.Tensor], tf.Tensor]) -> None:
            super().__init__()
            self.function = function

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return self.function(x)

    def make(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...] = (1, 4, 4)) -> Any:
        return trace(Module(function), inputs={"input": (shape, tf.float32)}, output_name="result")

    return make
