"""``python -m perceiver_edge.runtime``: one engine on a file of samples; what is wrong is an error with exit code 2."""

import errno
import sys

import numpy as np
import pytest

from perceiver_edge.runtime import __main__, load


@pytest.fixture
def command(tmp_path, float_onnx, batch, monkeypatch):
    """Run on ``model`` and ``inputs.npz`` in a folder of its own, which ``change`` changes before."""

    def run(change=lambda folder: None, output="output.npy"):
        (tmp_path / "model").write_bytes(float_onnx)
        np.savez(tmp_path / "inputs.npz", input=np.repeat(batch, 3, axis=0))
        change(tmp_path)
        files = [str(tmp_path / name) for name in ("model", "inputs.npz", output)]
        monkeypatch.setattr(sys, "argv", ["runtime", *files, "--threads", "1"])
        __main__.main()
        return np.load(tmp_path / output)

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


@pytest.mark.parametrize("output", ["out.bin", "out", "out.npy"])
def test_the_file_has_the_name_that_was_said_and_nothing_is_left_beside_it(output, command, tmp_path):
    assert len(command(output=output)) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"model", "inputs.npz", output}
    assert len(command(output=output)) == 3  # over the one before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("3 requested, 0 written")])
def test_a_full_disk_is_an_error_and_what_was_there_stays(error, command, tmp_path, monkeypatch, capsys):
    def save(file, array):
        file.write(b"half")
        raise error

    def change(folder):
        (folder / "output.npy").write_bytes(b"of yesterday")
        monkeypatch.setattr(np, "save", save)

    with pytest.raises(SystemExit, match="2"):
        command(change)
    assert str(error) in capsys.readouterr().err
    assert (tmp_path / "output.npy").read_bytes() == b"of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "inputs.npz", "output.npy"}


@pytest.mark.parametrize("fault", ["several outputs", "no such folder"])
def test_an_output_that_cannot_be_is_told_before_the_work(fault, command, masked_onnx, monkeypatch, capsys):
    monkeypatch.setattr(__main__, "open_npz", None)
    with pytest.raises(SystemExit, match="2"):
        if fault == "several outputs":
            command(lambda folder: (folder / "model").write_bytes(masked_onnx))
        else:
            command(output="absent/output.npy")
    assert ("several outputs" if fault == "several outputs" else "cannot be written") in capsys.readouterr().err


def test_a_model_of_several_outputs(command, masked_onnx, capsys):
    def change(folder):
        (folder / "model").write_bytes(masked_onnx)
        np.savez(folder / "inputs.npz", input=np.ones((2, 4), np.float32), mask=np.ones((2, 4), bool))

    with pytest.raises(SystemExit, match="2"):
        command(change)
    assert "several outputs" in capsys.readouterr().err
