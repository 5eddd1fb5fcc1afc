"""Which artefact suits which processor; docs/gpu.md says why and what of it was run."""

from __future__ import annotations

from perceiver_edge.errors import BadInputError

_SUITED_TO = {
    ("tflite", "fp16"): "GPUs through LiteRT (WebGPU, OpenCL, Metal); it runs on CPUs too, no faster than fp32",
    ("tflite", "int8"): "CPUs through LiteRT or tflite-runtime; not GPUs",
    ("tflite", "dynamic"): "CPUs through LiteRT; not GPUs",
    ("tflite", "fp32"): "CPUs through LiteRT or tflite-runtime; LiteRT's GPU accelerator refuses it, take fp16 there",
    ("onnx", "fp16"): "NVIDIA GPUs through ONNX Runtime's CUDA provider; slower than fp32 on CPUs",
    ("onnx", "int8"): "CPUs through ONNX Runtime; not GPUs",
    ("onnx", "dynamic"): "CPUs through ONNX Runtime; not GPUs",
    ("onnx", "fp32"): "CPUs through ONNX Runtime, and NVIDIA GPUs through its CUDA provider (in TF32)",
}


def suited_to(format_: str, precision: str) -> str:
    """What to run an artefact on.

    Raises:
        BadInputError: no such kind of artefact.
    """
    try:
        return _SUITED_TO[format_, precision]
    except KeyError:
        raise BadInputError(
            "No such kind of artefact.",
            expected=", ".join(f"{f} {p}" for f, p in _SUITED_TO),
            got=f"{format_} {precision}",
        ) from None
