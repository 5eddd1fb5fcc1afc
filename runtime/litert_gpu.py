"""LiteRT's GPU accelerator (WebGPU; on Linux over Vulkan), in a process of its own: drivers crash.

All of a model runs on the GPU or nothing does. A model in the form of `converters.tflite.gpu`, as the fp16 artefact is,
runs there whole.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, MissingExtraError, NotRunError, PerceiverEdgeError
from perceiver_edge.runtime.litert_gpu_worker import Failed, Load, Loaded, Misread, Outputs
from perceiver_edge.runtime.runner import Runner

RUNTIME = "LiteRT GPU"

_WORKER = (sys.executable, "-c", "from perceiver_edge.runtime.litert_gpu_worker import main; main()")

_LONGEST_S = 600
"""A driver that takes longer over one call hangs."""

_ADAPTER = re.compile(r"Selected adapter: (.+?), arch=.*adapterType=(.+)")
_REFUSED = re.compile(r"not supported by GPU delegate:\n((?:[A-Z][A-Z0-9_]*: .*\n)+)")
_INVALID = re.compile(r"Validation error: (.+)")
_NO_GPU = "Failed to initialize WebGPU environment"
_ERROR = re.compile(r"^(?:ERROR|Warning): (?:\[.*?\] )?(.+)", re.MULTILINE)


class LiteRtGpuRunner(Runner):
    """Runs float TFLite models on the GPU. Close it, or use it in a ``with``: it holds a process.

    Attributes:
        adapter: the GPU's name, as its driver gives it.
        is_software: whether the "GPU" is a program on the CPU (SwiftShader, llvmpipe): its times mean nothing.
        call_ms: how long the last call took, from inputs to outputs in the memory of the process that ran it.
    """

    engine = "litert_gpu"
    call_ms: float

    def __init__(self, content: bytes, *, half: bool, where: str) -> None:
        """
        Args:
            content: the model.
            half: let the GPU compute in float16 where it can. Normalisations and softmax then are in float16 too,
                which overflows at 65,504 and is too coarse for a softmax over many tokens: prove it first.
            where: the file's name, for messages.

        Raises:
            NotRunError: no Vulkan loader or no GPU.
            BadInputError: the GPU refuses operators of the model, would compute some wrongly, or is too small; the
                last may come with the first call.
            PerceiverEdgeError: the process ended or did not answer.
            MissingExtraError: ai-edge-litert is not installed.
        """
        if find_spec("ai_edge_litert") is None:
            raise MissingExtraError("ai_edge_litert", "litert")
        self._one_call = threading.Lock()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._worker = subprocess.Popen(_WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        try:
            loaded = self._loaded(self._ask(Load(content, half)), where)
        except BaseException:
            self.close()
            raise
        super().__init__(loaded.inputs, loaded.outputs)

    def __enter__(self) -> LiteRtGpuRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._worker.kill()
        self._worker.communicate()
        self._log.close()

    def _loaded(self, reply: object, where: str) -> Loaded:
        log = self._written()
        if isinstance(reply, Misread):
            raise BadInputError(
                "LiteRT's GPU accelerator would compute this model wrongly: of a constant of several rows in an "
                "addition or product it reads the first alone.",
                expected="the form that convert --quantize fp16 writes", got=", ".join(reply.operators), where=where,
            )  # fmt: skip
        if _NO_GPU in log:
            raise NotRunError(
                RUNTIME,
                missing=f"a Vulkan loader and a GPU with a Vulkan driver ({_ERROR.findall(log)[0]})",
                fix="install libvulkan1 and the GPU's driver; VK_DRIVER_FILES names one that is not found by itself",
            )
        if refused := refused_operators(log):
            raise BadInputError(
                "LiteRT's GPU accelerator does not run all of this model, and a part is not enough.",
                expected="the form that convert --quantize fp16 writes", got="; ".join(refused), where=where,
            )  # fmt: skip
        if not isinstance(reply, Loaded):
            raise BadInputError(
                "LiteRT's GPU accelerator refuses the model.",
                expected="an undamaged float .tflite model",
                got=reply.message if isinstance(reply, Failed) else reply,
                where=where,
            )
        if (adapter := _ADAPTER.search(log)) is None:
            raise PerceiverEdgeError(
                f"{RUNTIME} did not say which GPU it took.",
                expected="a line 'Selected adapter: …' in its log", got=log[-300:], where=where,
                fix="try another version of ai-edge-litert: its log has changed",
            )  # fmt: skip
        self.adapter, kind = adapter.groups()
        self.is_software = "Software" in kind
        return reply

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        reply = self._ask(feeds)
        self._require_valid()
        if not isinstance(reply, Outputs):
            raise PerceiverEdgeError(f"{RUNTIME} failed in a call.", got=reply, where=self.adapter)
        self.call_ms = reply.call_ms
        return reply.arrays

    def _ask(self, request: object) -> Any:
        """Send a request and wait for the reply."""
        assert self._worker.stdin and self._worker.stdout
        watchdog = threading.Timer(_LONGEST_S, self._worker.kill)
        watchdog.start()
        try:
            with self._one_call:
                pickle.dump(request, self._worker.stdin)
                self._worker.stdin.flush()
                return pickle.load(self._worker.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            status = self._worker.wait()
            self._require_valid()
            raise PerceiverEdgeError(
                f"{RUNTIME} ended in the middle of a call.",
                expected=f"an answer within {_LONGEST_S} s",
                got=f"signal {-status}" if status < 0 else f"exit status {status}",
                where=next(reversed(self._written().strip().splitlines()), None),
                fix="look for a newer driver of the GPU",
            ) from None
        finally:
            watchdog.cancel()

    def _require_valid(self) -> None:
        """LiteRT goes on after what WebGPU refuses, and reads zeros."""
        if invalid := _INVALID.search(self._written()):
            raise BadInputError(
                "The model does not fit this GPU.",
                expected="batch × tokens of at most 4 times the side of the GPU's largest texture",
                got=invalid[1], fix="compile for a batch of 1, or fewer tokens",
            )  # fmt: skip

    def _written(self) -> str:
        """What LiteRT and the driver have written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")


def refused_operators(log: str) -> tuple[str, ...]:
    """The operators that LiteRT's log says the GPU does not run, each with its reason."""
    return tuple(line for lines in _REFUSED.findall(log) for line in lines.splitlines())


def run_on_gpu(model: bytes, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Run the model on every sample, in float32 arithmetic.

    Args:
        inputs: ``[n, ...]`` by name.

    Returns:
        ``[n, ...]``.

    Raises:
        As `LiteRtGpuRunner`.
    """
    with LiteRtGpuRunner(model, half=False, where="bytes") as runner:
        return np.asarray(runner.batch(inputs))
