"""Every operator form × every kernel × every kind of processor, at the corners of its operands and of its sums."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from contracts.operators import ONNX, TFLITE

from perceiver_edge.devices import arm64, x86
from perceiver_edge.devices.elsewhere import copy_runtime
from perceiver_edge.errors import NotRunError

SCRIPT = Path(__file__).parent / "run_forms.py"


@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
@pytest.mark.parametrize("name", TFLITE)
def test_litert_keeps_the_contract(name, kernels, run_tflite):
    form = TFLITE[name]
    form.check(run_tflite(form.model, *form.feeds.values(), kernels=kernels))


@pytest.mark.parametrize("name", ONNX)
def test_onnxruntime_keeps_the_contract(name, run_onnx):
    form = ONNX[name]
    form.check(run_onnx(form.model, form.feeds))


def test_the_forms_are_what_onnxruntime_makes_of_them(tmp_path):
    """A product between conversions is one operator; else the contract would be of float kernels."""
    expected = {
        "qgemm": {"QGemm"}, "qlinear_matmul": {"QLinearMatMul"}, "matmul_integer": {"MatMulInteger"},
        "dynamic_matmul": {"DynamicQuantizeMatMul"},
    }  # fmt: skip
    for name, operators in expected.items():
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "optimised"), 4
        onnxruntime.InferenceSession(ONNX[f"{name} 64"].model, options, providers=["CPUExecutionProvider"])
        assert {node.op_type for node in onnx.load(tmp_path / "optimised").graph.node} == operators


@pytest.mark.devices
@pytest.mark.parametrize("cpu", [*x86.CPUS, *arm64.CPUS], ids=lambda cpu: cpu.name)
def test_emulated_processors_keep_the_contract(cpu, tmp_path):
    """All of them in one process for each processor: to start an engine there takes longer than to run it."""
    forms = TFLITE | ONNX
    for index, form in enumerate(forms.values()):
        (tmp_path / f"{index}.model").write_bytes(form.model)
        np.savez(tmp_path / f"{index}.npz", **form.feeds)
    copy_runtime(tmp_path / "code")
    with contextlib.ExitStack() as stack:
        try:
            command, packages = _interpreter(cpu, stack)
        except NotRunError as error:
            pytest.skip(str(error))
        path = os.pathsep.join(map(str, filter(None, (tmp_path / "code", packages))))
        done = subprocess.run(
            [*command, str(SCRIPT), str(tmp_path)], env={**os.environ, "PYTHONPATH": path}, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    broken = {}
    for index, (name, form) in enumerate(forms.items()):
        try:
            form.check(np.load(tmp_path / f"{index}.npy"))
        except AssertionError as error:
            broken[name] = str(error)
    assert broken == {}


def _interpreter(cpu, stack):
    if isinstance(cpu, arm64.Cpu):
        return stack.enter_context(arm64.interpreter(cpu, runtime="contract"))
    return x86.interpreter(cpu, runtime="contract"), None
