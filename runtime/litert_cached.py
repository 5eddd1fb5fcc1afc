"""LiteRT with the weights that XNNPACK packs mapped from a file: the process holds no copy of its own.

The interpreter of LiteRT's Python package has no such option, its compiled model has.
"""

from __future__ import annotations

import platform
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, importing
from perceiver_edge.runtime._quiet import leave_stderr_to_python_at_exit, without_litert_notices
from perceiver_edge.runtime._tflite import refusals_are_bad_input, require_one_signature, specs
from perceiver_edge.runtime.execution import Execution, resolve_execution
from perceiver_edge.runtime.litert import LiteRtRunner
from perceiver_edge.runtime.runner import Runner, TensorSpec
from perceiver_edge.runtime.structure import require_structure
from perceiver_edge.runtime.weight_cache import packed_weights

_CPUINFO = Path("/proc/cpuinfo")


_MOST_DIFFERENCE = 1e-3
"""Relative L2 between the answers with and without a weight cache; the kernels are the same."""


class _MappingRunner(Runner):
    """A compiled model whose packed weights are in a file; they are packed now if there is no such file."""

    engine = "litert"

    def __init__(self, model: Path, weights: Path, *, execution: Execution) -> None:
        self._home = execution.home()
        with without_litert_notices(), refusals_are_bad_input(str(model)):
            compiled = self._home.build(lambda: _compile(model, weights, threads=execution.threads))
            (signature,) = require_one_signature(compiled.get_signature_list())
            # The signature has its names in the file's order; the interpreter sorts them, and so do we.
            inputs = dict(sorted(compiled.get_input_tensor_details(signature).items()))
            outputs = dict(sorted(compiled.get_output_tensor_details(signature).items()))
            super().__init__(specs(inputs), specs(outputs), execution)
            self._signature, self._compiled = signature, compiled
            self._inputs = {name: compiled.create_input_buffer_by_name(signature, name) for name in inputs}
            self._outputs = {name: compiled.create_output_buffer_by_name(signature, name) for name in outputs}
            self._read_outputs()  # the first access to a buffer has LiteRT set up more, with notices
        self._one_call = threading.Lock()  # there is one set of buffers

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._home.run(lambda: self._infer(feeds))

    def _infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._one_call:
            for name, array in feeds.items():
                self._inputs[name].write(array)
            self._compiled.run_by_name(self._signature, self._inputs, self._outputs)
            return self._read_outputs()

    def _read_outputs(self) -> dict[str, np.ndarray]:
        """Copies."""
        return {
            name: self._outputs[name].read(int(np.prod(spec.shape)), spec.dtype).reshape(spec.shape)
            for name, spec in self.outputs.items()
        }

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with without_litert_notices():
                self.__dict__.clear()


class LiteRtCachedRunner(_MappingRunner):
    """Runs TFLite models in LiteRT, which maps the model's file and the file of its packed weights."""

    def __init__(self, model: Path, folder: Path, *, execution: Execution) -> None:
        """
        Args:
            model: a file. While it is loaded, replace it if need be, but do not write to it: it is mapped.
            folder: where files of packed weights are kept; see `packed_weights`.
            execution: how it runs.

        Raises:
            BadInputError: LiteRT refuses the model or computes something else with packed weights from a file, the
                folder cannot be used, or the processor is too old.
            MissingExtraError: ai-edge-litert is not installed.
        """
        with importing("ai_edge_litert", "litert"):
            from ai_edge_litert import __version__
        _require_atomics()
        leave_stderr_to_python_at_exit()  # LiteRT ends after Python, with notices
        weights = packed_weights(
            model, folder, packer=f"litert-{__version__}", pack=lambda packed: _pack_and_try(model, packed)
        )
        super().__init__(model, weights, execution=execution)


def _require_atomics() -> None:
    """A compiled model loads LiteRT's GPU library even to run on the CPU, and that one is built for ARMv8.1: without
    atomic instructions it ends the process."""
    if platform.machine() == "aarch64" and "atomics" not in _CPUINFO.read_text(encoding="utf-8").split():
        raise BadInputError(
            "LiteRT cannot use a weight cache on this processor.", expected="ARMv8.1 or newer (atomic instructions)",
            got=f"no 'atomics' in {_CPUINFO}", fix="omit weight_cache",
        )  # fmt: skip


def _pack_and_try(model: Path, packed: Path) -> None:
    """Pack, and compare answers with those of the interpreter, once the model's bytes are known to hold together.

    XNNPACK's cache has one packing for weights that several int8 layers share, as tied layers do. But a packing has its
    layer's zero point in it: the answers of the others are wrong.
    """
    alone = resolve_execution(threads=1)
    content = model.read_bytes()
    require_structure(content, model)
    plain = LiteRtRunner(content, execution=alone, where=str(model))
    _MappingRunner(model, packed, execution=alone)
    mapped = _MappingRunner(model, packed, execution=alone)
    feeds = {name: _any_values(spec) for name, spec in plain.inputs.items()}
    expected, got = plain._run(feeds), mapped._run(feeds)
    for name, values in expected.items():
        difference = float(np.linalg.norm(got[name].astype(float) - values.astype(float)))
        if not difference <= _MOST_DIFFERENCE * float(np.linalg.norm(values.astype(float))):
            raise BadInputError(
                "With a weight cache LiteRT computes something else of this model.",
                expected=f"the {name!r} that it computes without", got=f"a difference of {difference:.3g}", where=model,
                fix="omit weight_cache: it mixes up weights that several int8 layers share",
            )  # fmt: skip


def _any_values(spec: TensorSpec) -> np.ndarray:
    """Integers are rows of a table, which has at least two."""
    random = np.random.default_rng(0)
    if np.issubdtype(spec.dtype, np.floating):
        return random.standard_normal(spec.shape).astype(spec.dtype)
    return random.integers(0, 2, spec.shape).astype(spec.dtype)


def _compile(model: Path, weights: Path, *, threads: int) -> Any:
    """Weights are packed into the file if it is not there, else mapped from it."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.environment import Environment, EnvironmentOptions
    from ai_edge_litert.options import Options

    no_plugins = str(weights.parent)  # else LiteRT tries those that it brings, and warns of what they lack
    environment = Environment.create(
        options=EnvironmentOptions(compiler_plugin_path=no_plugins, dispatch_library_path=no_plugins)
    )
    options = CpuOptions(num_threads=threads, xnnpack_weight_cache_path=str(weights))
    return CompiledModel.from_file(str(model), environment=environment, options=Options(cpu_options=options))
