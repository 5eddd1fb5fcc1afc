"""A model in a process of its own: what it measures, and what is said when it fails."""

import sys

import numpy as np
import pytest

from perceiver_edge.measure.side_by_side import measure_side_by_side
from perceiver_edge.measure.worker import Worker, WorkerError

SERVES = """
import sys, time, numpy as np
from pathlib import Path
from perceiver_edge.measure.worker import serve
{before}
def open_model():
    {opening}
    return lambda feeds: {answer}
serve(open_model, Path(sys.argv[1]), batch={batch}, streams={streams})
"""


@pytest.fixture
def served(tmp_path):
    """Start a worker of a model in a line of Python; its five samples are 0 to 4, each twice."""
    np.savez(tmp_path / "inputs.npz", input=np.repeat(np.arange(5, dtype=np.float32), 2).reshape(5, 2))

    def start(answer, *, opening="pass", before="", batch=1, streams=1):
        code = SERVES.format(answer=answer, opening=opening, before=before, batch=batch, streams=streams)
        return Worker([sys.executable, "-c", code, str(tmp_path / "inputs.npz")])

    return start


def test_the_child_times_itself(served):
    with served("time.sleep(0.06)", opening="time.sleep(0.03)") as worker:
        started = worker.start()
        assert started.load_ms >= 30
        assert started.first_ms >= 60
        turn = worker.turn(pause_s=0.01)
        assert turn.burst_ms >= 60
        assert turn.paused_ms >= 60


def test_processor_time_is_of_one_call_and_what_follows_it(served):
    before = """
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def later():
    time.sleep(0.01); spin(0.03)
import threading
def call():
    spin(0.02); threading.Thread(target=later).start()
"""
    with served("call()", before=before) as worker:
        worker.start()
        turn = worker.turn(pause_s=0.3)
    assert turn.burst_processor_ms > 19
    assert 49 < turn.paused_processor_ms < 70  # with the thread that goes on after the call


def test_streams_run_at_once_and_are_counted_together(served):
    with served("time.sleep(0.05)", streams=4, batch=2) as worker:
        worker.start()
        assert 8 * 8 < worker.samples_per_s(0.5) < 8 * 20.1  # 4 streams of 2 samples each 50 ms: 160


def test_outputs_of_all_samples_whatever_the_batch(served):
    for batch in (1, 2, 5, 8):
        with served("feeds['input'] * 2", batch=batch) as worker:
            worker.start()
            np.testing.assert_array_equal(worker.outputs()[:, 0], [0, 2, 4, 6, 8])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_peak_memory_is_what_the_model_adds_even_when_it_was_given_back(served):
    hundred = 100 * 2**20
    before = f"old = np.ones({3 * hundred}, np.uint8); del old; big_engine = np.ones({hundred}, np.uint8)"
    with served(f"np.ones({hundred}, np.uint8)[:1]", before=before) as worker:
        worker.start()
        peak = worker.peak_bytes()
        assert hundred * 0.95 < peak < hundred * 1.2


def test_what_an_engine_prints_is_no_answer(served):
    with served("print('chatty') or feeds['input']") as worker:
        worker.start()
        assert len(worker.outputs()) == 5


def test_a_failure_has_the_last_words(served):
    with served("1 / 0") as worker, pytest.raises(WorkerError, match=r"exit code 1: ZeroDivisionError"):
        worker.start()
    with served("0", before="import os; os.kill(os.getpid(), 9)") as worker, pytest.raises(WorkerError, match="memory"):
        worker.start()


def test_no_such_program():
    with pytest.raises(WorkerError, match="cannot be started"):
        Worker(["/no/such/python"])


def test_one_that_fails_does_not_stop_the_others(served):
    measured = measure_side_by_side(
        {"bad": lambda: served("1 / 0"), "good": lambda: served("feeds['input']")},
        rounds=2, budget_s=0, answering=("bad", "good"),
    )  # fmt: skip
    assert list(measured) == ["bad", "good"]
    assert isinstance(measured["bad"], WorkerError)
    assert len(measured["good"].latency.samples_ms) == 2
    assert measured["good"].outputs.shape == (5, 2)


def test_one_that_dies_in_a_turn_does_not_stop_the_others(served):
    dies = "feeds['input'] if (calls.append(0) or len(calls) < 3) else __import__('os')._exit(3)"
    measured = measure_side_by_side(
        {"dies": lambda: served(dies, before="calls = []"), "good": lambda: served("feeds['input']")},
        rounds=2, budget_s=0,
    )  # fmt: skip
    assert isinstance(measured["dies"], WorkerError)
    assert len(measured["good"].latency.samples_ms) == 2
