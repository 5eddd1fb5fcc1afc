"""LiteRT's GPU accelerator (WebGPU; on Linux over Vulkan), in a process of its own: drivers crash.

All of a model runs on the GPU or nothing does. A model in the form of `converters.tflite.gpu`, as the fp16 artefact is,
runs there whole.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError, MissingExtraError, NotRunError, PerceiverEdgeError
from perceiver_edge.runtime.child import ChildError, ChildProcess, program
from perceiver_edge.runtime.frames import Arrays
from perceiver_edge.runtime.runner import Runner
from perceiver_edge.runtime.serving import specs

RUNTIME = "LiteRT GPU"

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
        self._log = _Log()
        try:
            self._child = ChildProcess(program("perceiver_edge.runtime.litert_gpu_worker"), stderr=self._log.end)
            said, _ = self._ask({"half": half}, {"model": np.frombuffer(content, np.uint8)})
            self._require_loaded(said, self._log.read(), where)
        except BaseException:
            self.close()
            raise
        super().__init__(specs(said["inputs"]), specs(said["outputs"]))

    def __enter__(self) -> LiteRtGpuRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if "_child" in self.__dict__:
            self._child.close()
        self._log.close()

    def _require_loaded(self, said: Mapping[str, Any], log: str, where: str) -> None:
        if "misread" in said:
            raise BadInputError(
                "LiteRT's GPU accelerator would compute this model wrongly: of a constant of several rows in an "
                "addition or product it reads the first alone.",
                expected="the form that convert --quantize fp16 writes", got=", ".join(said["misread"]), where=where,
            )  # fmt: skip
        if _NO_GPU in log:
            raise NotRunError(
                RUNTIME,
                missing=f"a Vulkan loader and a GPU with a Vulkan driver ({next(iter(_ERROR.findall(log)), _NO_GPU)})",
                fix="install libvulkan1 and the GPU's driver; VK_DRIVER_FILES names one that is not found by itself",
            )
        if refused := refused_operators(log):
            raise BadInputError(
                "LiteRT's GPU accelerator does not run all of this model, and a part is not enough.",
                expected="the form that convert --quantize fp16 writes", got="; ".join(refused), where=where,
            )  # fmt: skip
        if "error" in said:
            raise BadInputError(
                "LiteRT's GPU accelerator refuses the model.",
                expected="an undamaged float .tflite model", got=said["error"], where=where,
            )  # fmt: skip
        if (adapter := _ADAPTER.search(log)) is None:
            raise PerceiverEdgeError(
                f"{RUNTIME} did not say which GPU it took.",
                expected="a line 'Selected adapter: …' in its log", got=log[-300:], where=where,
                fix="try another version of ai-edge-litert: its log has changed",
            )  # fmt: skip
        _require_valid(log)
        self.adapter, kind = adapter.groups()
        self.is_software = "Software" in kind

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        said, outputs = self._ask({}, feeds)
        _require_valid(self._log.read())
        if "error" in said:
            raise PerceiverEdgeError(f"{RUNTIME} failed in a call.", got=said["error"], where=self.adapter)
        self.call_ms = said["call_ms"]
        return outputs

    def _ask(self, header: Mapping[str, Any], arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        try:
            return self._child.ask(header, arrays)
        except ChildError as error:
            said = self._log.read()
            _require_valid(said)
            raise PerceiverEdgeError(
                f"{RUNTIME} gives no answer.", expected="a driver that ends its calls", got=error,
                where=next(reversed(said.strip().splitlines()), None), fix="look for a newer driver of the GPU",
            ) from error  # fmt: skip


class _Log:
    """A file for what the child writes, which is read while it is written: both ends have a place of their own in it.

    Attributes:
        end: the child's.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name, "log")
        self.end = path.open("ab")
        self._read = path.open("rb")

    def read(self) -> str:
        """What was written since the last time."""
        return self._read.read().decode(errors="replace")

    def close(self) -> None:
        self.end.close()
        self._read.close()
        self._folder.cleanup()


def _require_valid(log: str) -> None:
    """LiteRT goes on after what WebGPU refuses, and reads zeros."""
    if invalid := _INVALID.search(log):
        raise BadInputError(
            "The model does not fit this GPU.",
            expected="batch × tokens of at most 4 times the side of the GPU's largest texture",
            got=invalid[1], fix="compile for a batch of 1, or fewer tokens",
        )  # fmt: skip


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
