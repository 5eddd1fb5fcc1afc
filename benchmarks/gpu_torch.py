"""perceiver-pytorch with the weights of a checkpoint, on one device, in half precision.

Its position features are computed once, in float32: perceiver-pytorch computes them in the input's dtype, where the
upper frequencies of a half-precision position are noise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from gpu_subject import Subject
from gpu_timing import elapsed_ms
from perceiver_pytorch import Perceiver

from perceiver_edge.errors import NotRunError
from perceiver_edge.fourier import fourier_encoding

RUNTIME = "torch CUDA"


class Encoded(torch.nn.Module):
    """``[batch, *axes, channels]`` → logits, the position features concatenated from a buffer."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        config, shape = subject.model.checkpoint.config, subject.model.input_spec.shape
        options = config.to_dict()
        options.pop("freq_base")
        options |= {"fourier_encode_data": False, "input_channels": config.context_channels}
        self.perceiver = Perceiver(**options)
        weights = subject.model.checkpoint.weights
        self.perceiver.load_state_dict(
            # torch lists tied layers once for each use
            {
                name: torch.from_numpy(weights[name if name in weights else re.sub(r"^layers\.\d+", "layers.1", name)])
                for name in self.perceiver.state_dict()
            }
        )
        encoding = fourier_encoding(
            shape, num_bands=config.num_freq_bands, max_freq=config.max_freq, freq_base=config.freq_base
        )
        self.register_buffer("encoding", torch.from_numpy(encoding.astype(np.float32))[None])

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        encoding = self.encoding.expand(len(data), *self.encoding.shape[1:])
        return self.perceiver(torch.cat([data, encoding], dim=-1))


class TorchModel:
    """A `gpu_contenders.Running`. ``compile_mode``: of torch.compile, None for eager."""

    is_software = False

    def __init__(self, subject: Subject, *, device: str, dtype: str, compile_mode: str | None) -> None:
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        module = Encoded(subject).eval().to(self._device, self._dtype)
        self._call = module if compile_mode is None else torch.compile(module, mode=compile_mode)
        self.device = torch.cuda.get_device_name() if self._device.type == "cuda" else device
        self.note = f"torch {torch.__version__}"

    @torch.inference_mode()
    def answer(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        self._input = torch.from_numpy(feeds["input"]).to(self._device, self._dtype)
        return self._call(self._input).float().cpu().numpy()

    @torch.inference_mode()
    def call_ms(self) -> float:
        return elapsed_ms(self._timed)

    def _timed(self) -> None:
        self._call(self._input)
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def on_gpu(subject: Subject, *, dtype: str, compile_mode: str | None) -> TorchModel:
    """Raises NotRunError: torch sees no GPU."""
    if not torch.cuda.is_available():
        raise NotRunError(RUNTIME, missing="an NVIDIA GPU that torch can use", fix="run on a machine with one")
    return TorchModel(subject, device="cuda", dtype=dtype, compile_mode=compile_mode)
