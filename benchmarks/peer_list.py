"""Who is measured beside ours: what a user of the same model would otherwise pick."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from environments import THIS

from perceiver_edge.compiler.resolve import NamedModel
from perceiver_edge.config.huggingface import HuggingFaceConfig

CHECKPOINT = "model/model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One thing that a user would otherwise pick.

    ``file``: in a work folder. ``recipe``: the script in ``recipes/`` that makes it, None where the checkpoint is
    what is loaded. ``environment``: where the recipe runs, and the engine too if ours does not run in it. ``mode``: see
    `serve_peer`. ``precision`` chooses the parity bounds: ``fp32``, ``fp16`` (bfloat16 too), ``dynamic`` or ``int8``.
    """

    made_by: str
    engine: str
    precision: str
    file: str
    recipe: str | None = None
    environment: str = THIS
    mode: str = ""


_tflite = functools.partial(Peer, engine="litert", recipe="make_tflite")
_litert_torch = functools.partial(Peer, engine="litert", recipe="make_litert_torch", environment="litert_torch")
_onnx = functools.partial(Peer, engine="onnxruntime", recipe="make_onnx")
_torch_onnx = functools.partial(Peer, engine="onnxruntime", recipe="make_torch_onnx", environment="torch")
_openvino = functools.partial(Peer, engine="openvino", recipe="make_openvino", environment="openvino")
_torch = functools.partial(Peer, engine="torch", file=CHECKPOINT, environment="torch")
_executorch = functools.partial(Peer, engine="executorch", recipe="make_executorch", environment="executorch")

_OF_TENSORFLOW = (
    _tflite(made_by="TF converter float32", precision="fp32", file="plain_fp32.tflite"),
    _tflite(made_by="TF converter dynamic", precision="dynamic", file="plain_dynamic.tflite"),
    _tflite(made_by="TF converter full int8", precision="int8", file="plain_int8.tflite"),
    _onnx(made_by="tf2onnx float32", precision="fp32", file="plain_fp32.onnx"),
)
_OF_TORCH = (
    _litert_torch(made_by="litert-torch float32", precision="fp32", file="litert_fp32.tflite"),
    _litert_torch(made_by="ai-edge-quantizer dynamic", precision="dynamic", file="litert_dynamic.tflite"),
    _torch_onnx(made_by="torch.onnx float32", precision="fp32", file="plain_fp32.onnx"),
)
_OF_THE_ONNX_FILE = (
    _onnx(made_by="ORT quantize_dynamic", precision="dynamic", file="plain_dynamic.onnx"),
    _onnx(made_by="ORT quantize_static", precision="int8", file="plain_int8.onnx"),
    _openvino(made_by="OpenVINO float32", precision="fp32", file="openvino_fp32.xml", mode="f32"),
    _openvino(made_by="OpenVINO default (bfloat16)", precision="fp16", file="openvino_fp32.xml", mode="default"),
    _openvino(made_by="OpenVINO + NNCF int8", precision="int8", file="openvino_int8.xml", mode="default"),
)
_OF_EXECUTORCH = (
    _executorch(made_by="ExecuTorch XNNPACK float32", precision="fp32", file="executorch_fp32.pte"),
    _executorch(made_by="ExecuTorch XNNPACK dynamic", precision="dynamic", file="executorch_dynamic.pte"),
    _executorch(made_by="ExecuTorch XNNPACK int8", precision="int8", file="executorch_int8.pte"),
)


def _original(name: str) -> tuple[Peer, ...]:
    """The model as its authors' library of this name runs it."""
    return (
        _torch(made_by=f"{name} eager", precision="fp32", mode="eager"),
        _torch(made_by=f"{name} torch.compile", precision="fp32", mode="compile"),
        _torch(made_by=f"{name} dynamic int8", precision="dynamic", mode="dynamic"),
    )


PEERS = _OF_TENSORFLOW + _OF_THE_ONNX_FILE + _original("perceiver-pytorch") + _OF_EXECUTORCH
"""Of a Perceiver of ours or of perceiver-pytorch's; each after what it is made from."""

PEERS_OF_TRANSFORMERS = _OF_TORCH + _OF_THE_ONNX_FILE + _original("transformers")
"""Of one of Hugging Face's: there is no Keras model of it to start from."""


def peers_of(model: NamedModel) -> tuple[Peer, ...]:
    return PEERS_OF_TRANSFORMERS if isinstance(model.checkpoint.config, HuggingFaceConfig) else PEERS
