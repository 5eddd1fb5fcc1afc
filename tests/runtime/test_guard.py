"""What no model answers rightly is refused before the engine sees it; what engines raise becomes one kind of error."""

import json
import warnings

import numpy as np
import pytest

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime import load
from perceiver_edge.runtime.guard import InputGuard
from perceiver_edge.runtime.runner import Runner, TensorSpec


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("model", ["float_tflite", "int8_tflite", "float_onnx"])
def test_what_is_not_finite_is_refused_by_every_model(model, value, batch, request):
    runner = load(request.getfixturevalue(model))
    bad = batch.copy()
    bad[0, 2, 3] = value
    for feeds in (bad, bad[0], {"input": bad}):
        with pytest.raises(BadInputError, match="not finite"):
            runner(feeds)
    runner(batch)


def test_the_check_can_be_switched_off(float_onnx, batch):
    bad = batch.copy()
    bad[0, 2, 3] = np.nan
    assert np.isnan(load(float_onnx, check_inputs=False)(bad)).any()


def test_masks_and_empty_inputs_are_no_numbers():
    InputGuard()({"mask": np.zeros((1, 4), bool), "input": np.zeros((0, 4), np.float32)})


@pytest.mark.parametrize(("value", "is_far"), [(1.0, False), (2.9, False), (-1.9, False), (255.0, True), (-50.0, True)])
def test_what_is_far_outside_of_the_proven_range_is_said_once(value, is_far):
    guard = InputGuard((0.0, 1.0))
    feeds = {"input": np.full((1, 4), value, np.float32)}
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        guard(feeds)
        guard(feeds)
    assert len(seen) == is_far
    if is_far:
        assert "was proven with 0 to 1" in str(seen[0].message)


class Failing(Runner):
    engine = "onnxruntime"

    def __init__(self, error):
        spec = {"input": TensorSpec((1, 2), np.dtype(np.float32))}
        super().__init__(spec, spec)
        self.error = error

    def _run(self, feeds):
        raise self.error


@pytest.mark.parametrize(
    "error", [RuntimeError("a"), ValueError("b"), IndexError("c"), type("Fail", (Exception,), {})("d")]
)
def test_an_engines_exceptions_do_not_escape(error):
    with pytest.raises(BadInputError, match=rf"cannot run the model(.|\n)*{type(error).__name__}: {error}"):
        Failing(error)(np.zeros((1, 2), np.float32))


def test_ctrl_c_is_no_engines_exception():
    with pytest.raises(KeyboardInterrupt):
        Failing(KeyboardInterrupt())(np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("how", ["call", "batch", "top", "guard"])
def test_the_warning_points_at_who_called(how):
    runner = type("Echo", (Failing,), {"_run": lambda self, feeds: feeds})(None)
    runner.guard, feeds = InputGuard((0.0, 1.0)), np.full((1, 2), 255, np.float32)
    uses = {"call": runner, "batch": runner.batch, "top": runner.top, "guard": lambda x: runner.guard({"input": x})}
    with pytest.warns(UserWarning, match="was proven with") as seen:
        uses[how](feeds)
    assert [one.filename for one in seen] == [__file__]


@pytest.mark.parametrize(
    ("said", "warns"), [([0.0, 1.0], True), (None, False), (["a", 1], False), ([1.0], False), ([0, 10**400], False)]
)
def test_the_proven_range_comes_from_the_manifest_beside_the_model(said, warns, float_onnx, batch, tmp_path):
    (tmp_path / "m.onnx").write_bytes(float_onnx)
    manifest = {"artefacts": {"m.onnx": {"size_bytes": len(float_onnx)}}, "input_range": said}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    runner = load(tmp_path / "m.onnx")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        runner(np.full_like(batch, 255.0))
    assert bool(seen) is warns
    if warns:
        assert seen[0].filename == __file__
