"""A torch state dict and folders of pictures become a table with accuracies, as docs/from-pytorch-and-keras.md says."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.data import DIGITS_CHECKPOINT, load_digits

PAGE = "docs/from-pytorch-and-keras.md"

pytestmark = pytest.mark.slow


def _original():
    """The digits' Perceiver as one of perceiver-pytorch's."""
    torch, package = pytest.importorskip("torch"), pytest.importorskip("perceiver_pytorch")
    checkpoint = load_checkpoint(DIGITS_CHECKPOINT)
    arguments = {name: value for name, value in checkpoint.config.to_dict().items() if name != "freq_base"}
    model = package.Perceiver(**arguments)
    model.load_state_dict({name: torch.from_numpy(weight) for name, weight in checkpoint.weights.items()})
    return model


@pytest.fixture
def home(tmp_path):
    """What the reader has: ``weights.pt`` of their training, and pictures in a folder for each class."""
    torch = pytest.importorskip("torch")
    torch.save(_original().state_dict(), tmp_path / "weights.pt")
    digits = load_digits()
    images = np.concatenate([digits.calibration.images, digits.test.images])
    labels = np.concatenate([digits.calibration.labels, digits.test.labels])
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "pictures" / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.round(255 * image[..., 0]).astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path


def run(line, home):
    words = [sys.executable if word == "python" else word for word in shlex.split(line)]
    return subprocess.run(words, cwd=home, capture_output=True, text=True, check=False)


def test_the_line_of_the_page(home, page_blocks):
    (line,) = (block for block in page_blocks(PAGE, "sh") if "weights.pt" in block)

    asked = run(re.sub(r"--config \S+ ", "", line), home)
    assert asked.returncode == 2
    for name in ("cross_heads", "latent_heads", "num_freq_bands", "max_freq"):
        assert re.search(rf"\n +{name}: ", asked.stderr)
    assert not (home / "build").exists()

    done = run(line, home)
    assert done.returncode == 0, done.stderr
    assert re.search("accura", done.stdout)  # a narrow terminal breaks the column's name
    report = json.loads((home / "build" / "weights" / "parity.json").read_text("utf-8"))
    accuracy = {entry["name"]: entry["judgement"]["metrics"]["accuracy"] for entry in report["artefacts"]}
    assert set(accuracy) == {f"weights_{p}.{kind}" for p in ("fp32", "int8") for kind in ("tflite", "onnx")}
    assert min(accuracy.values()) > 0.95
    card = (home / "build" / "weights" / "README.md").read_text("utf-8")
    assert "compared with its source on 8 samples: perceiver-pytorch" in card

    from perceiver_edge.runtime import load

    picture = next((home / "pictures" / "digit 7").iterdir())
    pixels = np.asarray(Image.open(picture), np.float32)[..., np.newaxis] / 255
    assert load(home / "build" / "weights" / "weights_int8.onnx").top(pixels, k=1)[0].name == "digit 7"


def test_wrong_heads_are_found_by_answers_of_the_original(home, page_blocks):
    import torch

    (line,) = (block for block in page_blocks(PAGE, "sh") if "weights.pt" in block)
    (store,) = (block for block in page_blocks(PAGE, "python") if "np.savez" in block)
    images = torch.from_numpy(load_digits().test.images[:8])
    exec(store.replace('"reference.npz"', repr(str(home / "reference.npz"))), {
        "model": _original(), "torch": torch, "images": images,
    })  # fmt: skip
    wrong = run(line.replace("latent_heads=4", "latent_heads=8").strip() + " --reference reference.npz", home)
    assert wrong.returncode == 1
    assert "nothing was converted" in wrong.stderr
    assert not (home / "build" / "weights").exists()
