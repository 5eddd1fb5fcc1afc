"""The shipped digits Perceiver is as good as its card says, and training makes such a model again."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.data import DIGITS_CHECKPOINT, load_digits


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perceiver_edge.train", *arguments], capture_output=True, text=True, check=False
    )


def test_the_shipped_model_is_as_accurate_as_its_card_says() -> None:
    from perceiver_edge.commands.train import accuracy
    from perceiver_edge.model import Perceiver

    found = accuracy(Perceiver.from_pretrained(DIGITS_CHECKPOINT), load_digits().test)
    claimed = re.search(r"test split: ([\d.]+)%", (DIGITS_CHECKPOINT / "README.md").read_text())
    assert claimed is not None
    assert found >= 0.985
    assert found == pytest.approx(float(claimed.group(1)) / 100, abs=1e-4)


def test_the_shipped_configuration_is_what_training_makes() -> None:
    from perceiver_edge.checkpoints import load_checkpoint
    from perceiver_edge.commands.train import DIGITS_CONFIG
    from perceiver_edge.config import InputSpec

    shipped = load_checkpoint(DIGITS_CHECKPOINT)
    assert shipped.config == DIGITS_CONFIG
    assert shipped.input_spec == InputSpec(shape=(32, 32), image_mean=(0.0,), image_std=(1.0,))


# In processes of their own: op determinism cannot be switched off again.
@pytest.mark.slow
def test_training_learns(tmp_path: Path) -> None:
    from perceiver_edge.commands.train import accuracy
    from perceiver_edge.model import Perceiver

    result = command("--epochs", "12", "--output", str(tmp_path))
    assert result.returncode == 0, result.stderr
    found = accuracy(Perceiver.from_pretrained(tmp_path), load_digits().test)
    assert found > 0.7
    assert f"{found:.2%}" in result.stdout
    assert f"{found:.2%}" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_the_seed_decides(tmp_path: Path) -> None:
    def weights(run: str, seed: str) -> bytes:
        result = command("--epochs", "1", "--seed", seed, "--output", str(tmp_path / run))
        assert result.returncode == 0, result.stderr
        return (tmp_path / run / "model.safetensors").read_bytes()

    first = weights("first", "1")
    assert weights("again", "1") == first
    assert weights("other", "2") != first


def test_augmentation_moves_every_picture_differently_but_slightly() -> None:
    import tensorflow as tf

    from perceiver_edge.commands.train import _augment

    images = np.repeat(load_digits().train.images[:1], 8, axis=0)
    changed = _augment(tf.constant(images), tf.constant([3, 4], tf.int64)).numpy()
    assert len(np.unique(changed.reshape(8, -1), axis=0)) == 8
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)), axis=-1)

    def centre(image: np.ndarray) -> np.ndarray:
        return (image * grid).sum(axis=(0, 1)) / image.sum()

    for image in changed:
        assert np.abs(centre(image) - centre(images[0])).max() < 4.5  # pixels: the shift, and what shear and scale add


def test_help_does_not_import_tensorflow() -> None:
    code = "import sys, perceiver_edge.train as t\ntry: t.main(['--help'])\nfinally: print('tensorflow' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "--epochs" in result.stdout
    assert result.stdout.rstrip().endswith("False")


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    result = command("--output", str(tmp_path))
    assert result.returncode == 2
    assert "--overwrite" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_an_output_that_cannot_be_a_folder_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command("--output", str(tmp_path / "file" / "sub"))
    assert result.returncode == 2
    assert "cannot be used" in result.stderr


@pytest.mark.parametrize("epochs", ["0", "-1", "many"])
def test_epochs_must_be_positive(epochs: str) -> None:
    assert command("--epochs", epochs).returncode == 2


@pytest.mark.parametrize("seed", ["-1", "4294967296", "many"])
def test_a_seed_that_keras_does_not_take_is_bad_usage(seed: str) -> None:
    result = command("--seed", seed)
    assert result.returncode == 2
    assert "--seed" in result.stderr


def test_without_tensorflow_the_extra_that_brings_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perceiver_edge import installation
    from perceiver_edge.commands import train

    monkeypatch.setattr(installation, "installed_tensorflows", set)
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    assert train.main(["--output", str(tmp_path / "out")]) == 2
    assert "perceiver-edge[tensorflow]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
