"""The models of published sizes, made small: transformers builds them, we read them, and they see their input."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers", reason="transformers builds them")

SMALL = {
    "num_latents": 8, "d_latents": 16, "num_blocks": 2, "num_self_attends_per_block": 1, "num_self_attention_heads": 2,
    "num_cross_attention_heads": 1, "num_labels": 5,
}  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch):
    import make_published

    architecture, values = make_published.PUBLISHED["vision-perceiver-conv"]
    monkeypatch.setitem(make_published.PUBLISHED, "small", (architecture, values | SMALL))

    def make(name):
        monkeypatch.setattr(sys, "argv", ["make_published.py", "small", str(tmp_path / name)])
        make_published.main()
        return tmp_path / name

    return make


def test_the_same_weights_each_time_and_what_they_answer_depends_on_the_input(made):
    from perceiver_edge.compiler.resolve import resolve_model

    model = resolve_model(made("a"), input_shape=(16, 16))
    assert model.fingerprint == resolve_model(made("b"), input_shape=(16, 16)).fingerprint
    inputs = np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype(np.float32)
    answers = np.stack([model.weights_reference({"input": one[None]}, where="here") for one in inputs])
    assert np.linalg.norm(answers - answers.mean(0)) > 0.05 * np.linalg.norm(answers)


def test_a_recipe_starts_from_transformers_own_module_with_inputs_as_ours_has_them(made, tmp_path, monkeypatch):
    import torch
    from peer_files import work_folder

    from perceiver_edge.compiler.resolve import resolve_model

    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "recipes"))
    from plain_torch import plain_module, tensors
    from recipe import calibration

    model = resolve_model(made("a"), input_shape=(16, 16))
    inputs = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype(np.float32)
    work = work_folder(tmp_path, model, {"input": inputs})
    feeds = calibration(work)[1]
    with torch.inference_mode():
        answer = plain_module(work)(*tensors(feeds)).numpy()
    np.testing.assert_allclose(answer[0], model.weights_reference(feeds, where="here"), rtol=1e-3, atol=1e-5)
