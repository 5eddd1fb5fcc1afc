import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import execution, load, processors
from perceiver_edge.runtime.execution import Execution, resolve_execution


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def has(count: int, *, fast: tuple[int, ...] = ()) -> None:
        monkeypatch.setattr(execution, "usable_processors", lambda: tuple(range(count)))
        monkeypatch.setattr(processors, "_SYSTEM", tmp_path)
        for number in range(count):
            (tmp_path / f"cpu{number}").mkdir()
            (tmp_path / f"cpu{number}" / "cpu_capacity").write_text("1024" if number in fast or not fast else "400")
        monkeypatch.setattr(execution, "can_place", lambda: True)

    return has


@pytest.mark.parametrize(
    ("count", "threads", "used"),
    [(2, 2, (0, 1)), (4, 2, (0, 1, 2, 3)), (2, 1, ()), (1, 2, ()), (2, 3, ()), (1, 1, ())],
)
def test_threads_are_placed_where_each_has_a_processor(machine, count, threads, used):
    machine(count)
    resolved = resolve_execution(threads=threads)
    assert resolved.threads == threads
    assert resolved.processors == used
    assert resolved.placement == ("apart" if used else "system")


def test_big_cores_are_enough_or_all_are_used(machine):
    machine(8, fast=(4, 5, 6, 7))
    assert resolve_execution(threads=4).processors == (4, 5, 6, 7)
    assert resolve_execution(threads=5).processors == tuple(range(8))


def test_it_is_off_by_argument_and_where_the_system_has_no_affinity(machine, monkeypatch):
    machine(2)
    assert resolve_execution(threads=2, placement="system").processors == ()
    monkeypatch.setattr(execution, "can_place", lambda: False)
    assert resolve_execution(threads=2).placement == "system"


@pytest.mark.parametrize("wrong", [{"placement": "pinned"}, {"idle": "busy"}, {"threads": 0}])
def test_no_such_value(float_onnx, wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        load(float_onnx, **wrong)


def test_a_runner_shows_how_it_runs(machine, float_tflite):
    machine(2)
    runner = load(float_tflite, threads=2, placement="system")
    assert runner.execution == Execution(threads=2, placement="system", processors=(), idle="sleep")
    assert repr(runner) == "<litert: input float32 [1, 4, 6] → logits float32 [1, 3]; 2 threads>"
    spinning = resolve_execution(threads=2, idle="spin")
    assert str(spinning) == "2 threads apart on processors 0, 1, spinning between calls"
    assert str(resolve_execution(threads=1)) == "1 thread"


def test_only_onnxruntime_can_spin(float_tflite, float_onnx, batch):
    assert load(float_onnx, idle="spin")(batch).shape == (1, 3)
    with pytest.raises(BadInputError, match="spin"):
        load(float_tflite, idle="spin")
