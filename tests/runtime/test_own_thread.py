"""A runner's own thread: apart from its engine's workers while it runs, bound to nothing else, and right everywhere."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from perceiver_edge.runtime import load, seat
from perceiver_edge.runtime.own_thread import OwnThread
from perceiver_edge.runtime.processors import usable_processors
from perceiver_edge.runtime.seat import Seat, can_place

pytestmark = [
    pytest.mark.skipif(not can_place(), reason="this system places threads itself"),
    pytest.mark.skipif(len(usable_processors()) < 2, reason="one processor: nothing to place"),
]

TASKS = Path("/proc/self/task")
COUNT_WAITED_NS = Seat._count_waited_ns


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch):
    """Whatever else this machine is doing."""
    monkeypatch.setattr(Seat, "_count_waited_ns", lambda seat: 0)


@pytest.fixture(params=["float_tflite", "float_onnx"])
def model(request):
    return request.getfixturevalue(request.param)


def _name(task: int) -> str:
    try:
        return (TASKS / str(task) / "comm").read_text().strip()
    except FileNotFoundError:
        return ""


def _tasks() -> set[int]:
    return {int(task.name) for task in TASKS.iterdir()}


def _namesakes() -> dict[int, set[int]]:
    """Where this thread may run, and where those that bear its name."""
    mine = _name(threading.get_native_id())
    return {task: os.sched_getaffinity(task) for task in _tasks() if _name(task) == mine}


def test_while_it_runs_workers_are_kept_off_its_processor(model, batch):
    usable = os.sched_getaffinity(0)
    runner = load(model, threads=2)
    runner(batch)
    me, masks = runner._home.run(lambda: (threading.get_native_id(), _namesakes()))
    assert me != threading.get_native_id()
    here = masks.pop(me)
    assert len(here) == 1
    assert list(masks.values()) == [usable - here]


def test_where_something_else_wants_its_processor_the_system_places_all_for_a_while(model, batch, monkeypatch):
    usable = os.sched_getaffinity(0)
    monkeypatch.setattr(seat, "_WANTED_S", (1.0, 3.0))
    runner = load(model, threads=2)
    before = runner(batch)
    threads = runner._home.run(_namesakes)
    assert min(map(len, threads.values())) == 1
    monkeypatch.setattr(Seat, "_count_waited_ns", lambda seat: 10**6)
    runner(batch)
    assert [os.sched_getaffinity(task) for task in threads] == [usable] * 2
    assert runner._home.run(threading.get_native_id) == threading.get_native_id()
    np.testing.assert_array_equal(runner(batch), before)
    time.sleep(1.1)
    assert runner._home.run(threading.get_native_id) in threads
    assert min(map(len, runner._home.run(_namesakes).values())) == 1


def test_where_the_kernel_counts_no_waits_each_preemption_is_one(monkeypatch):
    place = Seat(usable_processors())  # has not asked the kernel yet
    assert COUNT_WAITED_NS(place) % seat._NOTICED_NS == 0
    for preemptions in (3, 4):
        monkeypatch.setattr(seat.resource, "getrusage", lambda who, count=preemptions: Mock(ru_nivcsw=count))
        assert COUNT_WAITED_NS(place) == preemptions * seat._NOTICED_NS


def test_the_callers_thread_is_never_bound(model, batch):
    usable = os.sched_getaffinity(0)
    runner = load(model, threads=2)
    for _ in range(3):
        runner(batch)
        assert os.sched_getaffinity(0) == usable


def test_who_takes_processors_away_meanwhile_is_heeded(model, batch):
    runner = load(model, threads=2)
    before, usable = runner(batch), os.sched_getaffinity(0)
    threads = runner._home.run(_namesakes)
    one = {min(usable)}
    for task in threads:
        os.sched_setaffinity(task, one)  # taskset --all-tasks --pid
    np.testing.assert_array_equal(runner(batch), before)
    assert all(os.sched_getaffinity(task) == one for task in threads)
    for task in threads:
        os.sched_setaffinity(task, usable)
    np.testing.assert_array_equal(runner(batch), before)
    assert len(runner._home.run(_namesakes)[runner._home.run(threading.get_native_id)]) == 1


def test_two_runners_have_threads_of_their_own(float_tflite, float_onnx, batch, expected):
    runners = [load(float_tflite, threads=2), load(float_onnx, threads=2), load(float_tflite, threads=2)]
    for _ in range(20):
        for runner in runners:
            np.testing.assert_allclose(runner(batch), expected, rtol=1e-5)
    names = {runner._home.run(lambda: _name(threading.get_native_id())) for runner in runners}
    assert len(names) == 3


def test_four_callers_two_hundred_times(model, batch, in_threads):
    runner = load(model, threads=2)
    feeds = [batch + i for i in range(4)]
    alone = [runner(feed) for feed in feeds]
    wrong = []

    def work(i):
        for _ in range(200):
            if not np.array_equal(runner(feeds[i]), alone[i]):
                wrong.append(i)

    in_threads(work, 4)
    assert not wrong


def test_it_ends_with_its_runner(model, batch):
    before = _tasks()
    runner = load(model, threads=2)
    runner(batch)
    started = set(runner._home.run(_namesakes))
    assert len(started) == 2
    del runner
    gc.collect()
    deadline = time.monotonic() + 10
    while started & (_tasks() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not started & _tasks()


def test_errors_are_the_callers_and_leave_it_working():
    home = OwnThread(usable_processors())
    for error in (ZeroDivisionError, KeyError, SystemExit):
        with pytest.raises(error):
            home.run(lambda error=error: (_ for _ in ()).throw(error()))
    assert home.run(lambda: 3) == 3


def test_an_answer_that_was_not_waited_for_is_nobodys():
    home = OwnThread(usable_processors())

    def interrupt(*_):
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedError):
            home.run(lambda: time.sleep(0.3) or "late")
        assert home.run(lambda: "next") == "next"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_workers_sleep_between_calls(float_onnx, batch):
    runner = load(float_onnx, threads=2)
    runner(batch)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02  # while they spin it is the whole of the pause, or 50 ms


FORK = """
import os, sys
import numpy as np
from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime import load, own_thread

model, batch = sys.argv[1], np.load(sys.argv[2])
threaded, alone = load(model, threads=2, placement=sys.argv[3]), load(model, threads=1)
expected = threaded(batch)
child = os.fork()
if child == 0:
    assert np.allclose(alone(batch), expected)
    try:
        threaded(batch)
    except PerceiverEdgeError as error:
        assert "fork" in str(error)
        assert np.allclose(load(model, threads=2)(batch), expected)
        os._exit(0)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.allclose(threaded(batch), expected)
print("both answered")
"""

ALONE = """
import os, sys
import numpy as np
from perceiver_edge.runtime import load, own_thread

runner, batch = load(sys.argv[1]), np.load(sys.argv[2])
for _ in range(50):
    answer = runner(batch)
print(runner.execution.threads, runner.execution.placement, *answer.ravel())
"""


@pytest.fixture
def files(model, batch, tmp_path):
    (tmp_path / "model").write_bytes(model)
    np.save(tmp_path / "batch.npy", batch)
    return [str(tmp_path / "model"), str(tmp_path / "batch.npy")]


@pytest.mark.parametrize("placement", ["apart", "system"])
def test_after_a_fork_the_child_is_told_and_can_load_anew(files, placement):
    done = subprocess.run(
        [sys.executable, "-c", FORK, *files, placement], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "both answered\n", done.stderr


def test_one_processor_has_one_thread_and_right_answers(files, expected):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *files], capture_output=True, text=True, check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(usable_processors())}),
    )  # fmt: skip
    threads, placement, *answer = done.stdout.split()
    assert (threads, placement) == ("1", "system")
    np.testing.assert_allclose(np.array(answer, float), expected.ravel(), rtol=1e-5)


def test_several_processes_at_once_are_right(files, expected):
    command = [sys.executable, "-c", ALONE, *files]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        _, placement, *answer = output.split()
        assert placement == "apart"
        np.testing.assert_allclose(np.array(answer, float), expected.ravel(), rtol=1e-5)


def test_more_threads_than_processors_are_not_placed(model, batch, expected):
    runner = load(model, threads=len(usable_processors()) + 1)
    assert runner.execution.placement == "system"
    np.testing.assert_allclose(runner(batch), expected, rtol=1e-5)
