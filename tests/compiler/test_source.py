"""A model that was read wrongly is not proven equal to itself: the answers of its framework are the import's gate."""

import json
from dataclasses import replace

import numpy as np
import pytest

import perceiver_edge
from perceiver_edge.bundle.report import warnings
from perceiver_edge.checkpoints import Checkpoint, save_checkpoint
from perceiver_edge.compiler import import_check
from perceiver_edge.compiler.job import prepare
from perceiver_edge.compiler.options import Options
from perceiver_edge.compiler.resolve import resolve_model
from perceiver_edge.config import InputSpec
from perceiver_edge.errors import BadInputError, GateError
from perceiver_edge.proof.parity import ParityReport
from perceiver_edge.proof.reference import Reference
from perceiver_edge.proof.source import Source, compare_with_answers, read_answers
from perceiver_edge.runtime import load

UNTRAINED = {"top1_agreement": 0.0}


def samples(case, count=8):
    random = np.random.default_rng(0)
    shape = (count, *case.inputs.shape[1:])
    colours = random.uniform(-2, 2, (count, *(1,) * (len(shape) - 2), shape[-1]))
    return (colours + random.normal(0, 0.3, shape)).astype(np.float32)


def options_for(case, folder, **options):
    fixed = {
        "quantize": "none", "formats": ("onnx",), "samples": samples(case), "num_samples": 4, "num_held_out": 4,
        "input_shape": case.inputs.shape[1:-1], "gates": UNTRAINED, "output": folder / "out", "cache": False,
    }  # fmt: skip
    return {**fixed, **options}


@pytest.fixture
def compile_to(tmp_path):
    return lambda model, case, **options: perceiver_edge.compile(model, **options_for(case, tmp_path, **options))


@pytest.fixture
def check(tmp_path):
    """(the job, how its import was checked) of a model: all of `compile` until something is converted."""

    def run(model, case, **options):
        job = prepare(Options(model, **options_for(case, tmp_path, **options)))
        return job, import_check.compare_with_source(job)

    return run


@pytest.fixture
def alone(monkeypatch):
    """perceiver-pytorch is not here."""
    monkeypatch.setattr(import_check, "package_reference", lambda checkpoint: None)


def test_answers_of_the_framework_are_a_gate(golden_case_named, compile_to, tmp_path, alone):
    case = golden_case_named("four_latent_heads")
    np.savez(tmp_path / "reference.npz", input=case.inputs, output=case.output)
    checkpoint = Checkpoint(config=case.config, input_spec=None, weights=case.weights)
    bundle = compile_to(checkpoint, case, reference=tmp_path / "reference.npz")
    source = bundle.manifest.source
    assert source.compared_with == "the answers in reference.npz"
    assert source.num_samples == len(case.inputs)
    assert 0 < source.relative_l2 < 1e-5
    assert "compared with its source on 2 samples: the answers in reference.npz" in bundle.read("README.md").decode()


def test_heads_that_were_guessed_wrongly_stop_before_anything_is_converted(
    golden_case_named, compile_to, tmp_path, alone
):
    """The same weights with two heads instead of four have the same shapes, and another meaning."""
    case = golden_case_named("four_latent_heads")
    config = case.config
    width = config.latent_heads * config.latent_dim_head
    wrong = replace(config, latent_heads=config.latent_heads // 2, latent_dim_head=width // (config.latent_heads // 2))
    answers = {"input": case.inputs, "output": case.output}
    with pytest.raises(GateError, match=r"nothing was converted(.|\n)*latent_heads, max_freq") as failure:
        compile_to(Checkpoint(config=wrong, input_spec=None, weights=case.weights), case, reference=answers)
    assert failure.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_without_answers_the_card_says_that_nothing_was_compared(golden_case_named, compile_to, alone):
    case = golden_case_named("image")
    bundle = compile_to(Checkpoint(config=case.config, input_spec=None, weights=case.weights), case)
    report = ParityReport.from_dict(json.loads(bundle.read("parity.json")))
    assert any("not compared with its source" in told for told in warnings(bundle.manifest, report))
    for document in ("README.md", "report.html"):
        assert "not compared with its source" in bundle.read(document).decode()


def test_a_model_of_ours_has_no_other_source(golden_case_named, tmp_path):
    case = golden_case_named("image")
    spec = InputSpec(shape=case.inputs.shape[1:-1])
    checkpoint = Checkpoint(config=case.config, input_spec=spec, weights=case.weights)
    model = perceiver_edge.Perceiver.from_checkpoint(checkpoint)
    model.save_pretrained(tmp_path / "ours", input_spec=spec)
    save_checkpoint(checkpoint, tmp_path / "theirs")
    assert resolve_model(tmp_path / "ours").is_own
    assert not resolve_model(tmp_path / "theirs").is_own
    assert resolve_model("digits").is_own


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"input": np.ones((2, 4, 5, 3), "f4")}, "the arrays input, output"),
        ({"x": np.ones(3), "input": np.ones(3), "output": np.ones(3)}, "the arrays input, output"),
        ({"input": np.ones((2, 3, 4, 5), "f4"), "output": np.ones((2, 3))}, r"input \[n, 4, 5, 3\]"),
        ({"input": np.ones((2, 4, 5, 3), "f4"), "output": np.ones((3, 3))}, r"output \[3, 3\]"),
        (
            {"input": np.ones((2, 4, 5, 3), "f4"), "output": np.full((2, 3), np.nan)},
            r"The output of(.|\n)*NaN or infinity, 6 of 6",
        ),
        ({"input": np.ones((2, 4, 5, 3), "u1"), "output": np.ones((2, 3))}, "The input of"),
        ({"input": np.ones((2, 4, 5, 3)), "output": np.ones((2, 3)), "mask": np.ones((2, 4, 5))}, "The mask of"),
    ],
)
def test_answers_that_are_not_usable(arrays, told, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    for given in (arrays, tmp_path / "a.npz"):
        with pytest.raises(BadInputError, match=told):
            read_answers(given, sample_shape=(4, 5, 3))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(40), b"\x93NUMPY" + bytes(40)])
def test_files_that_are_no_answers(content, tmp_path):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(BadInputError, match="cannot be read"):
        read_answers(tmp_path / "a.npz", sample_shape=(4, 5, 3))


def test_answers_may_be_tensors_that_still_have_gradients():
    torch = pytest.importorskip("torch")
    given = {"input": np.ones((2, 4, 5, 3)), "output": torch.ones((2, 7), requires_grad=True)}
    assert read_answers(given, sample_shape=(4, 5, 3)).outputs.shape == (2, 7)


@pytest.mark.parametrize("output", [[[1.0], [2.0, 3.0]], "meta"], ids=str)
def test_answers_that_are_no_array_are_named(output):
    if output == "meta":
        output = pytest.importorskip("torch").ones((2, 7), device="meta")
    with pytest.raises(BadInputError, match="output of reference"):
        read_answers({"input": np.ones((2, 4, 5, 3)), "output": output}, sample_shape=(4, 5, 3))


def test_another_number_of_classes_is_told_apart_from_other_values():
    answers = read_answers({"input": np.ones((2, 4, 5, 3)), "output": np.ones((2, 7))}, sample_shape=(4, 5, 3))
    ours = Reference(answer=lambda feeds: np.ones((1, 3), np.float32), description="ours")
    with pytest.raises(GateError, match=r"something else(.|\n)*\[2, 3\](.|\n)*\[2, 7\]"):
        compare_with_answers(answers, ours)


def test_in_words():
    assert str(Source()) == "not compared with its source"
    assert "on 1 sample: x, relative error 2e-07" in str(Source(compared_with="x", relative_l2=2e-7, num_samples=1))


class TestPyTorch:
    @pytest.fixture
    def make(self):
        """A perceiver_pytorch.Perceiver of a golden case, with its weights."""
        torch = pytest.importorskip("torch")
        package = pytest.importorskip("perceiver_pytorch")

        def make(case, **options):
            arguments = {name: value for name, value in case.config.to_dict().items() if name != "freq_base"}
            module = package.Perceiver(**{**arguments, **options})
            state = {name: torch.from_numpy(weight) for name, weight in case.weights.items()}
            module.load_state_dict(state, strict=False)
            return module.eval()

        return make

    @pytest.mark.parametrize("name", ["four_latent_heads", "tied_three_self_attends", "no_fourier", "latents_out"])
    def test_a_module_is_compiled_against_itself(self, name, golden_case_named, make, check):
        case = golden_case_named(name)
        gates = {} if name == "latents_out" else UNTRAINED
        job, source = check(make(case), case, gates=gates)
        unused = {} if case.config.final_classifier_head else {"num_classes": 1000}  # of a head that is not there
        assert job.model.checkpoint.config == replace(case.config, attn_dropout=0.0, ff_dropout=0.0, **unused)
        assert source.compared_with == "The module that was passed (Perceiver)"
        assert source.relative_l2 < 1e-5

    def test_a_wrapped_module_in_training_mode_too(self, golden_case_named, make, check):
        import torch

        case = golden_case_named("image")

        class Lightning(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = make(case, attn_dropout=0.5, ff_dropout=0.5)

            def forward(self, x):
                return self.model(x)

        module = Lightning().train()
        assert check(module, case)[1].compared_with == "The module that was passed (Lightning)"
        assert module.training

    def test_a_module_that_does_more_is_refused(self, golden_case_named, make, check):
        import torch

        case = golden_case_named("image")
        module = torch.nn.Sequential(make(case), torch.nn.Softmax(-1))
        with pytest.raises(BadInputError, match="computes something else than a Perceiver with its weights"):
            check(module, case)

    def test_a_module_tells_options_that_leave_no_trace_in_the_weights(self, golden_case_named, make, check):
        case = golden_case_named("image")
        job, source = check(make(case, inverted_cross_attn=(True, False)), case)
        assert job.model.checkpoint.config.inverted_cross_attn == (True, False)
        assert source.relative_l2 < 1e-5

    def test_attention_residuals_are_read_from_a_module(self, golden_case_named, make, check):
        case = golden_case_named("attention_residual_tied")
        job, source = check(make(case), case)
        assert job.model.checkpoint.config == case.config
        assert source.relative_l2 < 1e-5

    def test_without_them_a_state_dict_is_refused_by_its_answers(self, golden_case_named, make, check, tmp_path):
        import torch

        case = golden_case_named("image")
        module = make(case, inverted_cross_attn=True)
        torch.save(module.state_dict(), tmp_path / "weights.pt")
        config = {"cross_heads": 1, "latent_heads": 2, "max_freq": 6.0, "num_freq_bands": 2}
        with torch.no_grad():
            answers = {"input": case.inputs, "output": module(torch.from_numpy(case.inputs)).numpy()}
        with pytest.raises(GateError, match="inverted_cross_attn"):
            check(tmp_path / "weights.pt", case, config=config, reference=answers)

    def test_where_the_package_is_installed_files_are_compared_with_it(self, golden_case_named, make, check):
        case = golden_case_named("tied_three_self_attends")
        _, source = check(Checkpoint(config=case.config, input_spec=None, weights=case.weights), case)
        assert source.compared_with.startswith("perceiver-pytorch 0.11.0")
        assert source.num_samples == 4
        assert source.relative_l2 < 1e-5

    @pytest.mark.parametrize("family", ["gated", "mixed_latents", "experimental"])
    def test_modules_of_other_families_are_refused_by_name(self, family, golden_case_named, make, check):
        import importlib

        case = golden_case_named("image")
        package = importlib.import_module(f"perceiver_pytorch.{family}")
        module = package.Perceiver(num_freq_bands=2, max_freq=6.0, depth=1, num_latents=4, latent_dim=16)
        with pytest.raises(BadInputError, match=f"perceiver_pytorch.{family}"):
            check(module, case)

    def test_no_perceiver(self, golden_case_named, make, check):
        import torch

        with pytest.raises(BadInputError, match="There is no Perceiver in this module"):
            check(torch.nn.Linear(2, 2), golden_case_named("image"))

    def test_what_is_compiled_is_what_the_module_answers(self, golden_case_named, make, compile_to):
        case = golden_case_named("four_latent_heads")
        bundle = compile_to(make(case), case, batch=len(case.inputs))
        output = load(bundle.read("perceiver_fp32.onnx"))(case.inputs)
        np.testing.assert_allclose(output, case.output, rtol=1e-4, atol=1e-5)
