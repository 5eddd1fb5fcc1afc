"""``python -m perceiver_edge.runtime``: one engine on a file of samples; what is wrong is an error with exit code 2."""

import sys

import numpy as np
import pytest

from perceiver_edge.runtime import __main__, load


@pytest.fixture
def command(tmp_path, float_onnx, batch, monkeypatch):
    """Run on ``model`` and ``inputs.npz`` in a folder of its own, which ``change`` changes before."""

    def run(change=lambda folder: None):
        (tmp_path / "model").write_bytes(float_onnx)
        np.savez(tmp_path / "inputs.npz", input=np.repeat(batch, 3, axis=0))
        change(tmp_path)
        files = [str(tmp_path / name) for name in ("model", "inputs.npz", "output.npy")]
        monkeypatch.setattr(sys, "argv", ["runtime", *files, "--threads", "1"])
        __main__.main()
        return np.load(tmp_path / "output.npy")

    return run


def test_the_answers_of_the_runner(command, float_onnx, batch):
    np.testing.assert_array_equal(command(), load(float_onnx, threads=1).batch(np.repeat(batch, 3, axis=0)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "model").unlink(), "No such file"),
        (lambda folder: (folder / "inputs.npz").unlink(), "inputs.npz"),
        (lambda folder: (folder / "inputs.npz").write_bytes(b"PK"), "inputs.npz"),
        (lambda folder: np.savez(folder / "inputs.npz", other=np.zeros((1, 4, 6), np.float32)), "inputs are not those"),
        (lambda folder: (folder / "output.npy").mkdir(), "output.npy"),
    ],
)
def test_what_cannot_be_used(change, says, command, capsys):
    with pytest.raises(SystemExit, match="2"):
        command(change)
    assert says in capsys.readouterr().err


def test_a_model_of_several_outputs(command, masked_onnx, capsys):
    def change(folder):
        (folder / "model").write_bytes(masked_onnx)
        np.savez(folder / "inputs.npz", input=np.ones((2, 4), np.float32), mask=np.ones((2, 4), bool))

    with pytest.raises(SystemExit, match="2"):
        command(change)
    assert "several outputs" in capsys.readouterr().err
