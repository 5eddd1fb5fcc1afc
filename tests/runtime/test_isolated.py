"""A model in a process of its own answers the same, and takes only that process with it."""

import gc
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError, PerceiverEdgeError
from perceiver_edge.runtime import child, frames, isolated, load
from perceiver_edge.runtime.isolated import require_survivable


@pytest.mark.parametrize("model", ["int8_tflite", "float_onnx"])
def test_the_same_answers_and_the_same_errors(model, batch, request):
    content = request.getfixturevalue(model)
    here, apart = load(content, threads=1), load(content, threads=1, isolated=True)
    assert (apart.engine, apart.inputs, apart.outputs) == (here.engine, here.inputs, here.outputs)
    for _ in range(3):
        np.testing.assert_array_equal(apart(batch), here(batch))
    np.testing.assert_array_equal(apart(batch[0]), here(batch[0]))
    np.testing.assert_array_equal(apart.batch(np.repeat(batch, 3, axis=0)), here.batch(np.repeat(batch, 3, axis=0)))
    for bad in (batch[:, :2], batch.astype(np.float64), batch * np.nan):
        with pytest.raises(BadInputError):
            apart(bad)


def broken_tflite(content):
    """An operator that reads a tensor of nowhere: the FlatBuffer is sound, the graph is nonsense."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.subgraphs[0].operators[0].inputs = np.array([7_000_000, 1, 2], np.int32)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_refused_model_leaves_no_process(monkeypatch):
    children = []

    class Kept(child.ChildProcess):
        def __init__(self, command):
            super().__init__(command)
            children.append(self)

    monkeypatch.setattr(isolated, "ChildProcess", Kept)
    with pytest.raises(BadInputError):
        isolated.IsolatedRunner(b"no model", where="a.onnx", engine="onnxruntime")
    assert children[0]._process.poll() is not None


def test_nonsense_is_refused_before_an_engine_sees_it(float_tflite):
    with pytest.raises(BadInputError, match="graph"):
        load(broken_tflite(float_tflite), isolated=True)


@pytest.fixture
def engine(monkeypatch):
    """Have the child's engine do something else: ``loading`` and ``running`` are expressions."""

    def change(*, loading="load(*a, **k)", running="run(self, feeds)"):
        code = f"""
import itertools, os, time
from perceiver_edge.runtime import isolated_worker, onnxruntime
load, run, calls = isolated_worker.load_content, onnxruntime.OnnxRuntimeRunner._run, itertools.count()
isolated_worker.load_content = lambda *a, **k: {loading}
onnxruntime.OnnxRuntimeRunner._run = lambda self, feeds: {running}
isolated_worker.main()
"""
        monkeypatch.setattr(isolated, "program", lambda _: [sys.executable, "-c", code])

    return change


ENDS = "os.kill(os.getpid(), 9)"


def test_an_engine_that_ends_its_process_does_not_end_this_one(engine, float_onnx, batch):
    engine(loading=ENDS)
    for use in (lambda: load(float_onnx, isolated=True), lambda: require_survivable(float_onnx, where="a.onnx")):
        with pytest.raises(BadInputError, match="ended by signal 9"):
            use()
    engine(running=ENDS)
    runner = load(float_onnx, isolated=True)
    for _ in range(2):
        with pytest.raises(BadInputError, match="ended by signal 9"):
            runner(batch)
    with pytest.raises(BadInputError, match="ended by signal 9"):
        require_survivable(float_onnx, where="a.onnx")


@pytest.mark.parametrize("when", ["loading", "running"])
def test_an_engine_that_comes_to_no_end_is_ended(engine, when, float_onnx, monkeypatch):
    engine(**{when: "time.sleep(60)"})
    monkeypatch.setattr(child, "LONGEST_S", 1.5)  # more than an undisturbed one takes to load
    with pytest.raises(BadInputError, match=r"no answer within 1\.5 s"):
        require_survivable(float_onnx, where="a.onnx")


class AlarmError(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
@pytest.mark.parametrize("kind", [KeyboardInterrupt, TimeoutError, AlarmError])
def test_after_an_interrupted_call_there_is_no_answer_rather_than_the_last_ones(engine, kind, float_onnx, batch):
    def interrupt(*_):
        raise kind

    engine(running="time.sleep(0.3 * (next(calls) == 0)) or run(self, feeds)")
    runner = load(float_onnx, isolated=True)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises((kind, BadInputError)) as caught:  # a Runner makes any Exception one of ours
            runner(batch)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert issubclass(caught.type, kind) or isinstance(caught.value.__cause__, kind)
    with pytest.raises(BadInputError, match="an earlier call was interrupted"):
        runner(2 * batch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_fork_does_not_share_the_process(float_onnx, batch, expected):
    runner = load(float_onnx, threads=1, isolated=True)
    if not (fork := os.fork()):
        try:
            runner(2 * batch)
        except PerceiverEdgeError as error:
            told = "before this process was forked" in str(error)
            del error, runner
            gc.collect()  # which is no reason to end the parent's process
            os._exit(0 if told else 1)
        finally:
            os._exit(2)
    assert os.waitpid(fork, 0)[1] == 0
    np.testing.assert_allclose(runner(batch), expected, rtol=1e-5)


HERE = "raise SystemExit('imported from the current folder')"


@pytest.mark.parametrize("module", ["numpy", "onnxruntime", "json", "perceiver_edge"])
def test_nothing_is_imported_from_the_current_folder(module, float_onnx, batch, tmp_path, monkeypatch):
    (tmp_path / f"{module}.py").write_text(HERE)
    monkeypatch.chdir(tmp_path)
    load(float_onnx, isolated=True)(batch)
    for program in ("perceiver_edge.runtime.litert_gpu_worker", "perceiver_edge.measure.worker"):
        command = [*child.program(program), "--help"]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert "imported from the current folder" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_copy_that_is_not_installed_is_found(tmp_path):
    """`program` says where the package lies, last."""
    *_, folder = child.program("perceiver_edge.runtime.isolated_worker")
    assert (Path(folder) / "perceiver_edge" / "__init__.py").exists()


def test_a_closed_one_says_so(float_onnx, batch):
    runner = load(float_onnx, isolated=True)
    runner.close()
    runner.close()
    with pytest.raises(BadInputError, match="closed"):
        runner(batch)


def test_shapes_survive_the_pipe():
    pipe = io.BytesIO()
    arrays = {"scalar": np.float32(3), "none": np.zeros((0, 4)), "strided": np.arange(6).reshape(2, 3).T}
    frames.send(pipe, {"a": 1}, arrays)
    pipe.seek(0)
    header, received = frames.receive(pipe)
    assert header == {"a": 1}
    for name, array in arrays.items():
        assert received[name].shape == np.shape(array)
        np.testing.assert_array_equal(received[name], array)


def test_an_input_of_terabytes_is_refused():
    from onnx import TensorProto, helper

    huge = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1 << 40])
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "huge", [huge], [huge])
    graph.output[0].name = "output"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    with pytest.raises(BadInputError, match="inputs are too large"):
        require_survivable(model, where="huge.onnx")


def test_what_does_not_load_is_told_as_without(masked_onnx):
    with pytest.raises(BadInputError, match="neither a TFLite nor an ONNX"):
        load(b"junk", isolated=True)
    for content in (b"junk", masked_onnx[:-4]):
        with pytest.raises(BadInputError, match=r"where: +of_a_stranger\.onnx"):
            isolated.IsolatedRunner(content, where="of_a_stranger.onnx")
    with pytest.raises(BadInputError, match="'isolated' is not usable"):
        load(masked_onnx, isolated=True, weight_cache="somewhere")


def test_masks_and_several_outputs_go_to_and_fro(masked_onnx):
    feeds = {"input": np.ones((1, 4), np.float32), "mask": np.array([[True, False, True, True]])}
    answers = load(masked_onnx, isolated=True)(feeds)
    assert (float(answers["logits"][0]), float(answers["count"][0])) == (3.0, 3.0)


def test_survivors_survive(int8_tflite, masked_onnx):
    for content in (int8_tflite, masked_onnx):
        require_survivable(content, where="here")
    with pytest.raises(BadInputError):
        require_survivable(masked_onnx[:-4], where="here")
