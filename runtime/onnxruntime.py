"""ONNX Runtime on the CPU, with all its graph optimisations."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, importing
from perceiver_edge.runtime.execution import Execution
from perceiver_edge.runtime.runner import VARYING, Runner, TensorSpec

_DTYPE_OF = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}

_EXACT_ON_AVX2 = "session.x64quantprecision"
"""Without VNNI, x86 kernels for int8 weights saturate their sums. Our files have uint8 weights, which no kernel does
that to; this is for others'. It is ignored where nothing saturates."""

_SHARED_WEIGHTS = "AddInitializedOrtValue"
"""Of the error with which ONNX Runtime 1.32 refuses, with that option, a model whose int8 weights serve twice, such as
layers that are tied. Such a file is loaded without it."""

_LOG_FATAL_ONLY = 4  # what goes wrong arrives as an exception


class OnnxRuntimeRunner(Runner):
    """Runs ONNX models in ONNX Runtime's CPU execution provider."""

    engine = "onnxruntime"

    def __init__(self, content: bytes | Path, *, execution: Execution, where: str) -> None:
        """
        Args:
            content: the model, its weights inside, or a file of it.
            execution: how it runs. Its threads are intra-operator threads, one of which is who runs the session.
            where: the file's name, for messages.

        Raises:
            BadInputError: ONNX Runtime refuses the model.
            MissingExtraError: onnxruntime is not installed.
        """
        with importing("onnxruntime", "onnxruntime"):
            import onnxruntime

        def session(*, is_exact: bool) -> Any:
            options = optimising(onnxruntime.SessionOptions(), is_exact=is_exact)
            options.intra_op_num_threads = execution.threads
            if execution.idle == "sleep":  # its workers spin while an inference runs, and not for tens of ms after it
                options.add_session_config_entry("session.force_spinning_stop", "1")
            # With a fallback it prints what went wrong where programs print their answers, and tries the same again.
            return onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )

        def build() -> Any:
            try:
                return session(is_exact=True)
            except Exception as error:
                if _SHARED_WEIGHTS not in str(error):
                    raise
                return session(is_exact=False)

        self._home, self._at_home = execution.home(), threading.Lock()
        try:
            self._session = self._home.build(build)
        except Exception as error:  # its exceptions have no base class of their own
            raise BadInputError(
                "The model cannot be loaded.", expected="an undamaged TFLite or ONNX model", got=error, where=where
            ) from error
        super().__init__(
            specs(self._session.get_inputs(), where), specs(self._session.get_outputs(), where), execution
        )  # fmt: skip

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self._at_home.acquire(blocking=False):  # several inferences at once share the workers
            return self._infer(feeds)
        try:
            return self._home.run(lambda: self._infer(feeds))
        finally:
            self._at_home.release()

    def _infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self._session.run(list(self.outputs), feeds)))


def engine_version() -> str:
    """Of the module that runs, which onnxruntime and onnxruntime-gpu both install."""
    import onnxruntime

    return str(onnxruntime.__version__)


def optimising(options: Any, *, is_exact: bool = True) -> Any:
    """The session options with every graph optimisation on, right sums on every x86, and without a log."""
    import onnxruntime

    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _LOG_FATAL_ONLY
    options.add_session_config_entry(_EXACT_ON_AVX2, "1" if is_exact else "0")
    return options


def specs(arguments: list[Any], where: str) -> dict[str, TensorSpec]:
    """What a session says of its inputs or outputs.

    Raises:
        BadInputError: a type that is neither fed nor returned here.
    """
    found = {}
    for argument in arguments:
        if argument.type not in _DTYPE_OF:
            raise BadInputError(
                f"Tensor {argument.name!r} has a type this runtime does not feed or return.",
                expected=", ".join(_DTYPE_OF),
                got=argument.type,
                where=where,
            )
        shape = tuple(size if isinstance(size, int) else VARYING for size in argument.shape or ())
        found[argument.name] = TensorSpec(shape, np.dtype(_DTYPE_OF[argument.type]))
    return found
