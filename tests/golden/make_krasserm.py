"""Remake ``krasserm.npz``: ``python tests/golden/make_krasserm.py``, with krasserm's perceiver-io on the path.

The file was made with 0.11.1, and 0.6.0, the newest release on PyPI, gives the same. Both ask for versions of libraries
that no longer install together: unpack the release, install torch and einops, and this script supplies what of the
rest a forward pass does not use.
"""

from __future__ import annotations

import sys
import types
import zlib
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import krasserm as golden  # noqa: E402


def _without_training_libraries() -> None:
    for name in ("pytorch_lightning", "pytorch_lightning.loggers", "pytorch_lightning.utilities", "torchmetrics",
                 "fairscale", "fairscale.nn", "transformers", "transformers.models",
                 "transformers.models.perceiver", "transformers.models.perceiver.modeling_perceiver",
                 "transformers.modeling_outputs", "transformers.image_processing_utils",
                 "transformers.image_utils"):  # fmt: skip
        module = types.ModuleType(name)
        module.__getattr__ = _anything
        module.__path__ = []
        sys.modules[name] = module
    sys.modules["pytorch_lightning"].LightningModule = torch.nn.Module
    sys.modules["torchmetrics"].Accuracy = MagicMock()
    sys.modules["transformers"].PretrainedConfig = type("PretrainedConfig", (), {})


def _anything(name: str) -> object:
    """A class to inherit from, or a decorator."""
    return type(name, (), {"register": MagicMock()}) if name[0].isupper() else lambda function: function


def model_of(values: dict) -> torch.nn.Module:
    kind, config = values["model_type"], values["model_config"]
    encoder, decoder = dict(config["encoder"]), dict(config["decoder"])
    sizes = {name: value for name, value in config.items() if name not in ("encoder", "decoder")}
    core = _module("perceiver.model.core.config")
    whole = getattr(core, "PerceiverIOConfig", None) or core.PerceiverConfig
    if kind == "perceiver-io-image-classifier":
        backend = _module("perceiver.model.vision.image_classifier.backend", "perceiver.model.image.classifier")
        encoder["image_shape"] = tuple(encoder["image_shape"])
        return backend.ImageClassifier(
            whole(backend.ImageEncoderConfig(**encoder), core.ClassificationDecoderConfig(**decoder), **sizes)
        )
    if kind == "perceiver-io-text-classifier":
        backend = _module("perceiver.model.text.classifier.backend", "perceiver.model.text.classifier")
        return backend.TextClassifier(
            whole(backend.TextEncoderConfig(**encoder), core.ClassificationDecoderConfig(**decoder), **sizes)
        )
    backend = _module("perceiver.model.text.mlm.backend", "perceiver.model.text.mlm")
    return backend.MaskedLanguageModel(
        whole(backend.TextEncoderConfig(**encoder), backend.TextDecoderConfig(**decoder), **sizes)
    )


def _module(*names: str) -> types.ModuleType:
    """The first that this release has."""
    import importlib

    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("perceiver"):
                raise
    raise ModuleNotFoundError(names)


def main() -> None:
    _without_training_libraries()
    stored: dict[str, np.ndarray] = {}
    for name, values in golden.CASES.items():
        model = model_of(values).eval()
        random = np.random.default_rng(zlib.crc32(name.encode()))
        state = model.state_dict()
        for key, tensor in state.items():
            if "position_encoding" not in key:  # Fourier features are computed, not trained
                tensor.copy_(torch.from_numpy(golden.draw(key, tuple(tensor.shape), random)))
            stored[f"{name}/{key}"] = tensor.numpy().astype(np.float32 if "position_encoding" in key else np.float16)
        inputs, mask = golden.inputs_of(name)
        inputs = torch.from_numpy(inputs)
        inputs = inputs.long() if mask is not None else inputs.double()
        options = {} if mask is None else {"pad_mask": torch.from_numpy(~mask)}
        with torch.no_grad():
            stored[name] = model.double()(inputs, **options)[0].numpy()
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else golden.FILE
    np.savez_compressed(out, **stored)


if __name__ == "__main__":
    main()
