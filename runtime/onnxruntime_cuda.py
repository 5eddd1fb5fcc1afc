"""ONNX Runtime on an NVIDIA GPU: the whole model there, its inputs and outputs in the GPU's memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, NotRunError, importing
from perceiver_edge.runtime.onnxruntime import optimising, specs
from perceiver_edge.runtime.runner import VARYING, Runner, TensorSpec

RUNTIME = "ONNX Runtime CUDA"

_PROVIDER = "CUDAExecutionProvider"
_FIX = "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]' (both packages are one module: keep one)"

_NOT_HERE = (
    "no CUDA-capable device",
    "CUDA wasn't able to be loaded",
    "Failed to load library",
    "driver version is insufficient",
)
"""In messages of ONNX Runtime and CUDA: no GPU, or no libraries. Others, such as out of memory, are failures."""


class Binding:
    """A session whose inputs and outputs stay on one device: `put` copies in, `run` copies nothing, `get` copies out.

    It is for one thread at a time.

    Args:
        device: ``cuda`` or ``cpu``.
    """

    def __init__(
        self, session: Any, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec], *, device: str
    ) -> None:
        from onnxruntime import OrtValue, RunOptions

        self._session, self._io, self._options = session, session.io_binding(), RunOptions()
        self._inputs = {
            name: OrtValue.ortvalue_from_shape_and_type(spec.shape, spec.dtype, device, 0)
            for name, spec in inputs.items()
        }
        self._outputs = {
            name: OrtValue.ortvalue_from_shape_and_type(spec.shape, spec.dtype, device, 0)
            for name, spec in outputs.items()
        }
        for name, value in self._inputs.items():
            self._io.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._io.bind_ortvalue_output(name, value)

    def put(self, feeds: Mapping[str, np.ndarray]) -> None:
        for name, value in self._inputs.items():
            value.update_inplace(feeds[name])

    def run(self) -> None:
        """Run on what was put; on return the device is done."""
        self._session.run_with_iobinding(self._io, self._options)
        self._io.synchronize_outputs()

    def get(self) -> dict[str, np.ndarray]:
        return {name: np.array(value.numpy()) for name, value in self._outputs.items()}


class OnnxRuntimeCudaRunner(Runner):
    """Runs ONNX models of static shapes in ONNX Runtime's CUDA execution provider, and nowhere else.

    Attributes:
        binding: the model with its tensors on the GPU, for who calls it more than once with the same inputs.
        nodes: number of nodes by execution provider, as ONNX Runtime recorded it.
    """

    engine = "onnxruntime_cuda"

    def __init__(self, content: bytes, *, where: str) -> None:
        """
        Raises:
            NotRunError: this onnxruntime has no CUDA provider, finds no GPU or CUDA libraries, left nodes elsewhere, or
                is too old to say where they are.
            BadInputError: the model is damaged, has open shapes or operators that CUDA lacks, or the GPU failed.
            MissingExtraError: no onnxruntime at all.
        """
        with importing("onnxruntime", "onnxruntime"):
            import onnxruntime
        if _PROVIDER not in onnxruntime.get_available_providers():
            raise NotRunError(RUNTIME, missing=f"an onnxruntime with {_PROVIDER}", fix=_FIX)
        if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
            needed = "an onnxruntime that says where each node runs, 1.24.1 or newer"
            raise NotRunError(RUNTIME, missing=f"{needed} (this is {onnxruntime.__version__})", fix=_FIX)
        onnxruntime.preload_dlls()  # CUDA and cuDNN from their pip packages, where there are any
        options = optimising(onnxruntime.SessionOptions())
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=[_PROVIDER], enable_fallback=False)
        except Exception as error:  # its exceptions have no base class of their own
            if any(sign in str(error) for sign in _NOT_HERE):
                raise NotRunError(
                    RUNTIME, missing=f"an NVIDIA GPU and its CUDA libraries ({error})", fix=_FIX
                ) from error
            raise BadInputError(
                f"{RUNTIME} does not run all of this model on the GPU.",
                expected="an undamaged model of operators that CUDA has", got=error, where=where,
            ) from error  # fmt: skip
        self.nodes = nodes_by_provider(session)
        require_all_on(_PROVIDER, session.get_providers(), self.nodes)
        super().__init__(specs(session.get_inputs(), where), specs(session.get_outputs(), where))
        for name, spec in {**self.inputs, **self.outputs}.items():
            if VARYING in spec.shape:
                raise BadInputError(
                    f"Tensor {name!r} has an open shape.", expected="static shapes, whose place on the GPU is reserved",
                    got=spec, where=where,
                )  # fmt: skip
        self._one_call = threading.Lock()
        self.binding = Binding(session, self.inputs, self.outputs, device="cuda")

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._one_call:  # there is one set of tensors
            self.binding.put(feeds)
            self.binding.run()
            return self.binding.get()


def nodes_by_provider(session: Any) -> dict[str, int]:
    """How many nodes each execution provider has; the session must have been told to record it."""
    subgraphs = session.get_provider_graph_assignment_info()
    return dict(sum((Counter({part.ep_name: len(part.get_nodes())}) for part in subgraphs), Counter()))


def require_all_on(provider: str, providers: list[str], nodes: Mapping[str, int]) -> None:
    """Raise NotRunError unless the session took the provider and every node runs there.

    Args:
        providers: those of the session; without a GPU ONNX Runtime goes on with the CPU and only warns.
        nodes: of `nodes_by_provider`.
    """
    elsewhere = {name: count for name, count in nodes.items() if name != provider}
    if provider not in providers or elsewhere:
        raise NotRunError(
            RUNTIME,
            missing=f"every node on {provider} (elsewhere: {elsewhere or 'none'}; providers: {', '.join(providers)})",
            fix=_FIX,
        )
