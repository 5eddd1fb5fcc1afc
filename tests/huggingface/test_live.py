"""With transformers installed: its own models are compiled and compared with; the stored outputs are still its."""

from __future__ import annotations

import numpy as np
import pytest

from perceiver_edge.checkpoints import load_checkpoint
from perceiver_edge.compiler.torch_models import read_torch_module
from perceiver_edge.compiler.transformers_models import read_transformers_model, transformers_reference
from perceiver_edge.errors import BadInputError

pytest.importorskip("transformers")


def test_stored_outputs_are_those_of_this_version(case, maker, expected):
    output = maker.output_of(case, maker.model_of(case))
    assert np.linalg.norm(output - expected(case.name)) < 1e-6 * np.linalg.norm(expected(case.name))


def test_a_live_model_is_read_and_answers_for_itself(case, maker, expected, error):
    model = maker.model_of(case).train()
    chosen = {name: case.values[name] for name in ("outputs", "positions") if name in case.values}
    checkpoint, reference = read_transformers_model(model, chosen)
    assert checkpoint.config == case.config
    assert error(reference(case.feeds, where="test"), expected(case.name)) < 1e-5
    assert model.training


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own, as it makes its compiler ready
def test_wrappers_of_pytorch_are_taken_off_and_others_are_named(maker, named_case):
    torch = pytest.importorskip("torch")
    model = maker.model_of(named_case("fourier"))
    parallel = torch.nn.DataParallel
    for wrapped in (
        torch.compile(model),
        parallel(model),
        torch.compile(parallel(model)),
        parallel(torch.compile(model)),
    ):
        assert read_torch_module(wrapped, {}, {})[0].config == named_case("fourier").config
    with pytest.raises(BadInputError, match=r"pass the part: model\.0"):
        read_torch_module(torch.nn.Sequential(model, torch.nn.Softmax(-1)), {}, {})


def test_a_subclass_is_read_as_what_it_derives_from(maker, named_case):
    case = named_case("fourier")
    model = maker.model_of(case)
    model.__class__ = type("Mine", (type(model),), {})
    assert read_torch_module(model, {}, {})[0].config == case.config


def test_a_module_that_was_quantised_is_told_so(maker, named_case):
    torch = pytest.importorskip("torch")
    model = maker.model_of(named_case("fourier"))
    model.register_state_dict_post_hook(lambda module, state, *_: state.update({"query.dtype": torch.qint8}))
    with pytest.raises(BadInputError, match=r"query\.dtype(.|\n)*before it is quantised"):
        read_torch_module(model, {}, {})


def test_a_folder_is_compared_with_transformers(case, folder, expected, error):
    reference = transformers_reference(load_checkpoint(folder(case)))
    assert error(reference(case.feeds, where="test"), expected(case.name)) < 1e-5


def test_a_folder_of_save_pretrained_is_read(case, maker, tmp_path):
    model = maker.model_of(case)
    model.save_pretrained(tmp_path)
    chosen = {name: case.values[name] for name in ("outputs", "positions") if name in case.values}
    checkpoint = load_checkpoint(tmp_path, config=chosen)
    assert all(np.array_equal(checkpoint.weights[name], weight) for name, weight in case.weights.items())
