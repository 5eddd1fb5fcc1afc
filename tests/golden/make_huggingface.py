"""Remake ``huggingface.npz``: ``python tests/golden/make_huggingface.py`` (needs torch and transformers).

For every case of ``huggingface.json`` the output of transformers in double precision, without the batch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import transformers

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import huggingface as golden  # noqa: E402


def model_of(case: golden.HuggingFaceCase) -> torch.nn.Module:
    """transformers' model with the case's weights, in float32."""
    architecture = case.config.architecture
    own = ("model_type", "architectures", "outputs", "positions")
    values = {key: value for key, value in case.values.items() if key not in own}
    if "id2label" in values:
        values["id2label"] = {int(index): label for index, label in values["id2label"].items()}
        values.pop("num_labels", None)
    model = getattr(transformers, architecture)(transformers.PerceiverConfig(**values)).eval()
    state = {name: torch.from_numpy(weight.copy()) for name, weight in case.weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    return model


def output_of(case: golden.HuggingFaceCase, model: torch.nn.Module) -> np.ndarray:
    """In float64."""
    options, architecture = {}, case.config.architecture
    if architecture == "PerceiverForMultimodalAutoencoding":
        return _label_of(case, model)
    if case.mask is not None:
        inputs = torch.from_numpy(case.inputs).long()
        options["attention_mask"] = torch.from_numpy(case.mask).long()
    else:
        inputs = torch.from_numpy(case.inputs).double().permute(0, 3, 1, 2)
    if architecture == "PerceiverForOpticalFlow":
        inputs = inputs.reshape(1, 2, 27, *case.input_shape)
    if architecture.endswith("Learned") and case.input_shape[0] != case.config.image_size:
        options["interpolate_pos_encoding"] = True
    with torch.no_grad():
        logits = model.double()(inputs=inputs, **options).logits[0].numpy()
    return logits if case.config.positions is None else logits[list(case.config.positions)]


def _label_of(case: golden.HuggingFaceCase, model: torch.nn.Module) -> np.ndarray:
    """The other outputs are not asked for anything: transformers fails without a choice of points."""
    video, sound = (torch.from_numpy(case.feeds[name]).double() for name in ("input", "audio"))
    inputs = {"image": video.permute(0, 1, 4, 2, 3), "audio": sound, "label": torch.zeros(1, case.config.num_labels)}
    none = torch.zeros(0, dtype=torch.long)
    with torch.no_grad():
        outputs = model.double()(
            inputs=inputs, subsampled_output_points={"image": none, "audio": none, "label": None}
        )  # fmt: skip
    return outputs.logits["label"][0].numpy()


def main() -> None:
    cases = [golden.load(name) for name in golden.names()]
    np.savez_compressed(FOLDER / "huggingface.npz", **{case.name: output_of(case, model_of(case)) for case in cases})


if __name__ == "__main__":
    main()
