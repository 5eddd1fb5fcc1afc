"""Serve one model of an engine that perceiver_edge does not use, in that engine's own environment.

    python benchmarks/serve_peer.py ENGINE MODE FILE INPUTS.npz THREADS STREAMS

Needs numpy, the engine, and ``perceiver_edge.measure.worker`` on the path (it asks for numpy alone).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from perceiver_edge.measure.worker import Call, serve

sys.path.append(str(Path(__file__).with_name("recipes")))


def openvino(mode: str, file: Path, threads: int) -> Callable[[], Call]:
    """``default``: the precision OpenVINO chooses, bfloat16 where the processor has it; or ``f32``. ``throughput``: as
    default, compiled once for several requests at a time."""
    import openvino as ov

    core = ov.Core()
    hints = {"INFERENCE_PRECISION_HINT": "f32"} if mode == "f32" else {}
    hints["PERFORMANCE_HINT"] = "THROUGHPUT" if mode == "throughput" else "LATENCY"
    compiled: list[ov.CompiledModel] = []

    def open_model() -> Call:
        if not compiled or mode != "throughput":
            compiled.append(core.compile_model(file, "CPU", {**hints, "INFERENCE_NUM_THREADS": threads}))
        request = compiled[-1].create_infer_request()
        return lambda feeds: np.array(request.infer(list(feeds.values()))[0])

    return open_model


def torch(mode: str, file: Path, threads: int) -> Callable[[], Call]:
    """``eager``, ``compile``, or ``dynamic`` int8; the file is the checkpoint's, in a work folder's model folder."""
    import perceiver_pytorch  # noqa: F401, imported before memory is counted
    import torch
    from plain_torch import plain_module, tensors
    from transformers import PerceiverModel  # noqa: F401, the same

    torch.set_num_threads(threads)
    work = file.parent.parent if file.name == "model.safetensors" else file.parent

    def open_model() -> Call:
        module = plain_module(work)
        if mode == "dynamic":
            module = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)
        if mode == "compile":
            module = torch.compile(module)

        @torch.inference_mode()
        def call(feeds: dict[str, np.ndarray]) -> np.ndarray:
            return module(*tensors(feeds)).numpy()

        return call

    return open_model


def executorch(_mode: str, file: Path, threads: int) -> Callable[[], Call]:
    import torch
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(threads)
    runtime = Runtime.get()

    def open_model() -> Call:
        program = runtime.load_program(file)
        method = program.load_method("forward")
        return lambda feeds: method.execute([torch.from_numpy(feeds["input"])])[0].numpy().copy()

    return open_model


if __name__ == "__main__":
    _, engine, mode, file, inputs, threads, streams = sys.argv
    opener = {"openvino": openvino, "torch": torch, "executorch": executorch}[engine]
    serve(opener(mode, Path(file).absolute(), int(threads)), Path(inputs), streams=int(streams))
