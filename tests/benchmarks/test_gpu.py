"""The GPU benchmark: without a GPU every row says why it did not run; its arithmetic; perceiver-pytorch on a CPU."""

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.checkpoints import Checkpoint, init_weights
from perceiver_edge.compiler.artefacts import Kind
from perceiver_edge.compiler.resolve import resolve_model
from perceiver_edge.config import PRESETS
from perceiver_edge.errors import NotRunError
from perceiver_edge.progress import silent
from perceiver_edge.proof.held_out import HeldOut
from perceiver_edge.runtime import Latency, load

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def subject():
    """``tiny``, with a reference that is the sum of the input's halves: no artefact is needed to have answers."""
    from gpu_subject import Subject

    inputs = np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype(np.float32)
    held_out = HeldOut(inputs={"input": inputs}, reference=halves(inputs), labels=None, source="random", is_random=True)
    return Subject(resolve_model("tiny"), 2, {}, held_out)


def halves(inputs):
    return inputs.reshape(len(inputs), 2, -1).sum(-1)


class Playing:
    """A `gpu_contenders.Running` that answers at once."""

    device, note = "a device", ""

    def __init__(self, answer, *, is_software=False):
        self.answer, self.is_software = lambda feeds: answer(feeds["input"]), is_software

    def call_ms(self):
        return 2.0


def contender(name, start):
    from gpu_contenders import Contender

    return Contender(
        name=name, engine="test", arithmetic="float16", is_ours=True, timed="device to device", start=start
    )


def test_a_preset_is_converted_for_a_batch_and_made_anew_when_the_compiler_changed(tmp_path, monkeypatch):
    import gpu_subject

    monkeypatch.setattr(gpu_subject, "WORK", tmp_path)
    size = {"batch": 2, "samples": "random", "num_samples": 2, "progress": silent}
    made = gpu_subject.make_subject("tiny", **size)
    assert set(made.artefacts) == set(gpu_subject.KINDS)
    for kind in (Kind("onnx", "fp32"), Kind("tflite", "fp16")):
        runner = load(made.artefacts[kind])
        assert runner.batch_size == 2
        np.testing.assert_allclose(runner.batch(made.held_out.inputs), made.held_out.reference, rtol=0.02, atol=0.02)

    monkeypatch.setattr(gpu_subject, "_convert", lambda *_: pytest.fail("it was there already"))
    gpu_subject.make_subject("tiny", **size)
    monkeypatch.setattr("perceiver_edge.provenance.source_digest", lambda: "changed")
    with pytest.raises(pytest.fail.Exception, match="there already"):
        gpu_subject.make_subject("tiny", **size)


def not_here(subject, stack):
    raise NotRunError("this runtime", missing="a GPU", fix="buy one")


def test_each_row_says_what_it_is(subject):
    from gpu_rows import compare

    def breaks(subject, stack):
        raise RuntimeError("out of memory")

    starts = {
        "right": lambda *_: Playing(halves),
        "as fast": lambda *_: Playing(halves),
        "software": lambda *_: Playing(halves, is_software=True),
        "collapsed": lambda *_: Playing(lambda x: np.ones((len(x), 2))),
        "breaks": breaks,
        "absent": not_here,
    }
    rows, ratios = compare([contender(*item) for item in starts.items()], subject, rounds=3, progress=silent)
    assert {row["name"]: row["status"] for row in rows} == {
        "right": "measured", "as fast": "measured", "software": "functional", "collapsed": "failed",
        "breaks": "failed", "absent": "not run",
    }  # fmt: skip
    assert all(row["status"] == "measured" or row["reason"] for row in rows)
    assert {row["name"] for row in rows if "median_ms" in row} == {"right", "as fast"}
    assert {(ratio["fast"], ratio["slow"], ratio["ratio"]) for ratio in ratios} == {
        ("right", "as fast", 1.0), ("as fast", "right", 1.0),
    }  # fmt: skip


def test_what_a_contender_holds_is_freed(subject):
    from gpu_rows import compare

    freed = []

    def start(_, stack: ExitStack):
        stack.callback(freed.append, "freed")
        return Playing(halves)

    compare([contender("right", start)], subject, rounds=1, progress=silent)
    assert freed == ["freed"]


def test_ratios_are_medians_within_rounds():
    from gpu_timing import pairwise

    (one,) = pairwise({"a": Latency((1.0, 2.0, 4.0)), "b": Latency((2.0, 6.0, 16.0))})
    assert (one["fast"], one["slow"], one["ratio"]) == ("a", "b", 3.0)
    assert one["p10"] < one["ratio"] < one["p90"]


def test_turns_are_interleaved_and_the_first_of_two_calls_is_not_counted():
    from gpu_timing import in_turns

    order = []

    def call(name):
        order.append(name)
        return float(len(order))

    timed = in_turns({name: lambda name=name: call(name) for name in "ab"}, rounds=2)
    assert order == list("aabbaabb")
    assert timed["a"].samples_ms == (2.0, 6.0)


def test_table_and_picture_show_times_and_reasons(subject):
    import xml.etree.ElementTree as ET

    from gpu_presentation import bar_chart, markdown
    from gpu_rows import compare

    rows, ratios = compare(
        [contender("absent", not_here), contender("right", lambda *_: Playing(halves))],
        subject, rounds=2, progress=silent,
    )  # fmt: skip
    result = {
        "machine": {"gpu": None, "cpu": "a CPU"}, "samples": "random", "num_samples": 5, "rounds": 2,
        "rows": rows, "ratios": ratios,
    }  # fmt: skip
    table = markdown(result)
    assert table.index("| **right** ") < table.index("| **absent** ")
    assert "not run: a GPU is missing" in table
    text = "".join(ET.fromstring(bar_chart(result)).itertext())
    assert "2 ms" in text
    assert "not run: a GPU is missing" in text


@pytest.mark.slow
def test_without_a_gpu_every_row_says_that_it_did_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VK_DRIVER_FILES", "/no/such/driver.json")
    monkeypatch.setenv("VK_ICD_FILENAMES", "/no/such/driver.json")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    arguments = ["--models", "tiny", "--batches", "1", "--rounds", "1", "--output", tmp_path / "gpu.json"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["engine"] for row in rows} == {"onnxruntime_cuda", "litert_gpu", "torch"}
    assert {row["status"] for row in rows} == {"not run"}
    assert all(row["reason"] and "median_ms" not in row for row in rows)


@pytest.fixture
def torch_subject():
    """``tiny`` with weights that tell every tensor from every other, and perceiver-pytorch's own answers."""
    torch = pytest.importorskip("torch")
    perceiver_pytorch = pytest.importorskip("perceiver_pytorch")
    from dataclasses import replace

    from gpu_subject import Subject

    config, spec = PRESETS["tiny"]
    weights = init_weights(config, 3)
    options = config.to_dict()
    options.pop("freq_base")
    theirs = perceiver_pytorch.Perceiver(**options).eval()
    theirs.load_state_dict({name: torch.from_numpy(weights[name]) for name in theirs.state_dict()})
    inputs = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    with torch.no_grad():
        reference = theirs(torch.from_numpy(inputs)).numpy()
    held_out = HeldOut(inputs={"input": inputs}, reference=reference, labels=None, source="random", is_random=True)
    model = replace(resolve_model("tiny"), checkpoint=Checkpoint(config=config, input_spec=spec, weights=weights))
    return Subject(model, 1, {Kind("onnx", "fp16"): b""}, held_out)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 5e-2)])
def test_the_torch_peer_is_perceiver_pytorch(torch_subject, dtype, bound):
    from gpu_rows import answers
    from gpu_torch import TorchModel

    peer = TorchModel(torch_subject, device="cpu", dtype=dtype, compile_mode=None)
    reference = torch_subject.held_out.reference
    assert np.linalg.norm(answers(peer, torch_subject) - reference) < bound * np.linalg.norm(reference)
    assert peer.call_ms() > 0


def test_the_torch_peer_does_not_run_without_a_gpu(torch_subject, monkeypatch):
    import torch
    from gpu_torch import on_gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotRunError, match="torch CUDA"):
        on_gpu(torch_subject, dtype="float16", compile_mode=None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile uses what torch deprecates
def test_the_compiled_torch_peer_computes_the_same(torch_subject):
    from gpu_rows import answers
    from gpu_torch import TorchModel

    peer = TorchModel(torch_subject, device="cpu", dtype="float32", compile_mode="default")
    reference = torch_subject.held_out.reference
    assert np.linalg.norm(answers(peer, torch_subject) - reference) < 1e-4 * np.linalg.norm(reference)
