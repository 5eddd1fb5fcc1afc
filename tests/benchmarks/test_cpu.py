"""The benchmark, end to end on the smallest model, as a user runs it; and its arithmetic."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "cpu.py"
GOLDEN = Path(__file__).parents[1] / "golden" / "trained"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_floor_is_the_time_of_the_products_and_of_the_exponentials():
    from floor import floor_ms
    from operations import Operations

    operations = Operations(weight_macs=3_000, core_macs=1_000, exponentials=500)
    rates = {"float32": 1e6, "int8": 4e6, "exp": 1e5}
    assert floor_ms(operations, rates, "fp32") == pytest.approx(4 + 5)
    assert floor_ms(operations, rates, "dynamic") == pytest.approx(1 + 5)
    assert floor_ms(operations, rates, "int8") == pytest.approx(1)  # exponentials come from a table
    assert floor_ms(operations, rates, "fp16") is None


def test_ours_is_compared_within_rounds_with_the_best_that_is_within_bounds():
    from comparisons import comparisons, markdown

    def row(made_by, precision, verdict, accuracy, times_ms, *, engine="litert", group=0):
        run = {"p50_ms": float(np.median(times_ms)), "samples_ms": times_ms, "group": group}
        return {
            "made_by": made_by, "engine": engine, "precision": precision, "is_ours": made_by.startswith("ours"),
            "verdict": verdict, "accuracy": accuracy, "runs": {"2": run},
        }  # fmt: skip

    rows = [
        row("ours int8", "int8", "within bounds", 0.8, [1.0, 2.0, 1.0]),
        row("ours int8, weight cache", "int8", "within bounds", 0.8, [0.1, 0.1, 0.1]),
        row("ours fp32", "fp32", "within bounds", 0.81, [2.0, 4.0, 1.0]),
        row("float32", "fp32", "within bounds", 0.81, [3.0, 8.0, 3.0]),
        row("full int8", "int8", "collapsed", 0.28, [0.5, 0.5, 0.5]),
        row("bfloat16", "fp16", "within bounds", 0.81, [2.5, 5.0, 2.5], engine="openvino"),
        row("dynamic", "dynamic", "within bounds", 0.81, [9.0, 9.0, 9.0], group=1),
    ]
    result = {"threads": ["2"], "num_samples": 1024, "rows": rows}
    found = {one["what"]: (one["other"], one["median"]) for one in comparisons(result)}
    assert found == {
        "int8, our own float32": ("ours fp32 (LiteRT)", 2.0),
        "int8, float32 of the same engine": ("float32 (LiteRT)", 3.0),
        "best int8, best float32 of others": ("float32 (LiteRT)", 3.0),
        "best int8, best of others within bounds": ("bfloat16", 2.5),
        "best int8, best quantised of others within bounds": ("dynamic (LiteRT)", None),
        "best float32, best float32 of others": ("float32 (LiteRT)", 2.0),
    }
    assert "| full int8 (LiteRT) | 28.00% | 25.3%–30.8% | collapsed |" in markdown(result)
    assert "| dynamic (LiteRT) | – | measured in two groups |" in markdown(result)


def test_ours_is_compared_with_a_peer_of_any_group_by_the_rounds_that_both_were_in():
    from comparisons import comparisons
    from summary import markdown_summary

    def row(made_by, is_ours, run):
        return {
            "made_by": made_by, "engine": "litert", "precision": "int8" if is_ours else "fp32", "is_ours": is_ours,
            "verdict": "within bounds", "accuracy": 0.5, "relative_l2": 0.0123, "size_bytes": 2e6,
            "runs": {"2": {"p50_ms": 1.0, "peak_bytes": 3e6, **run}},
        }  # fmt: skip

    ours = {"samples_ms": [1.0, 1.0], "group": 0, "beside": {"1": {"samples_ms": [2.0, 4.0]}}}
    rows = [row("ours", True, ours), row("other", False, {"samples_ms": [6.0, 12.0], "group": 1})]
    result = {"model": "m", "input_shape": "4", "threads": ["2"], "num_samples": 8, "rows": rows}
    assert {one["median"] for one in comparisons(result)} == {3.0}
    (line,) = markdown_summary([result]).splitlines()[2:]
    assert "| 1 ms (LiteRT) | 1 ms (other, LiteRT) | 3.00 (3.00–3.00) | – | – |" in line
    assert "| 2 of 2 | 3 of 3 | 0.012 | 50.0%, 50.0% |" in line
    del rows[0]["runs"]["2"]["beside"]
    assert {one["median"] for one in comparisons(result)} == {None}


def test_groups_hold_every_contender_once_and_the_anchors_always(tmp_path):
    import measure
    from contenders import Contender

    class Subject:
        class model:  # noqa: N801
            class input_spec:  # noqa: N801
                shape = (2,)

            class checkpoint:  # noqa: N801
                class config:  # noqa: N801
                    num_latents = 1

    file = tmp_path / "model"
    file.write_bytes(bytes(1_000_000))
    one = {"engine": "litert", "file": file, "python": tmp_path}
    anchor = Contender(made_by="ours", precision="int8", is_ours=True, **one)
    others = [Contender(made_by=f"peer {n}", precision="int8", is_ours=False, **one) for n in range(7)]
    groups = list(measure.groups([*others, anchor], Subject, most_bytes=4 * 3.1e8))
    assert [group[0] for group in groups] == [anchor] * len(groups)
    assert [one for group in groups for one in group[1:]] == others
    assert max(map(len, groups)) == 4


def test_a_weight_cache_is_filled_before_it_counts_and_is_no_anchor(tmp_path, monkeypatch):
    from contenders import Contender, with_weight_cache

    calls = []

    class Worker:
        def __init__(self, command):
            self.command = command

        def start(self):
            calls.append(self.command)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("perceiver_edge.measure.worker.Worker", Worker)
    names = ["TF converter float32", "TF converter dynamic", "perceiver_edge fp32", "perceiver_edge int8"]
    present = [
        Contender(
            made_by=name, engine=engine, precision="int8", is_ours="edge" in name, file=tmp_path / "m", python=tmp_path
        )
        for engine in ("litert", "onnxruntime")
        for name in names
    ]
    cached = with_weight_cache(present)
    assert [one.made_by for one in cached] == [f"{names[0]}, weight cache", f"{names[-1]}, weight cache"]
    assert not any(one.is_anchor for one in cached)
    measured = cached[1].worker(tmp_path / "inputs.npz", 2)
    assert measured.command[-2:] == ["--weight-cache", str(tmp_path / "weight_cache")]
    assert calls == [measured.command]
    assert "--weight-cache" not in present[3].worker(tmp_path / "inputs.npz", 2).command


def test_our_bundle_is_compiled_anew_when_the_compiler_or_a_tool_changed(tmp_path, monkeypatch):
    import subject

    from perceiver_edge.compiler.resolve import resolve_model
    from perceiver_edge.progress import silent

    compiled = []

    def convert(command, **_):
        compiled.append(folder := Path(command[command.index("--output") + 1]))
        folder.mkdir()
        (folder / "manifest.json").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subject.subprocess, "run", convert)
    monkeypatch.setattr(subject, "read_bundle", lambda folder: folder)
    model = resolve_model("tiny")

    def bundle():
        return subject._bundle("tiny", [], model, tmp_path, silent)

    assert bundle() == bundle() == compiled[0]
    monkeypatch.setattr("perceiver_edge.provenance.source_digest", lambda: "changed")
    bundle()
    monkeypatch.setattr("perceiver_edge.provenance.tool_versions", lambda: {"onnx-ir": "changed"})
    bundle()
    assert len(set(compiled)) == len(compiled) == 3


@pytest.mark.parametrize(
    ("processor", "name"),
    [
        ("AMD EPYC", "amd-epyc"),
        ("Intel(R) Xeon(R) Processor", "intel-xeon-processor"),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "intel-core-i7-8550u-cpu"),
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5-model-b-rev-1-0"),
    ],
)
def test_a_result_is_named_by_its_processor(processor, name, monkeypatch):
    import machine

    monkeypatch.setattr(machine, "processor", lambda: processor)
    assert machine.machine_name() == name


def test_a_kernels_build_is_left_out_of_a_result(monkeypatch):
    import machine

    monkeypatch.setattr(machine.platform, "release", lambda: "6.1.0-18-cloud-amd64")
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    assert machine.describe_machine()["system"] == "Linux 6.1.0"


def test_another_machines_result_is_not_overwritten(tmp_path):
    import cpu
    from machine import describe_machine

    from perceiver_edge.errors import BadInputError

    here = describe_machine()
    output = tmp_path / "result.json"
    cpu._require_same_machine(output)
    output.write_text(json.dumps({"machine": {**here, "load_average": 9.0}}))
    cpu._require_same_machine(output)
    output.write_text(json.dumps({"machine": {**here, "instructions": ["avx2"]}}))
    with pytest.raises(BadInputError, match="another machine's"):
        cpu._require_same_machine(output)


def test_peers_run_in_plain_engines_and_ours_in_both(tmp_path, monkeypatch):
    from contenders import Contender, plain

    monkeypatch.setattr("perceiver_edge.measure.worker.Worker", lambda command: command)
    one = {"made_by": "x", "precision": "int8", "file": tmp_path / "model", "python": tmp_path}
    ours = Contender(engine="onnxruntime", is_ours=True, **one)
    peer = Contender(engine="onnxruntime", is_ours=False, **one)
    (twin,) = plain([ours, peer])
    assert twin.made_by == "x, plain engine"
    assert not twin.is_anchor
    inputs = tmp_path / "inputs.npz"
    assert ["--plain" in c.worker(inputs, 2) for c in (ours, twin, peer)] == [False, True, True]


def test_a_missing_environment_is_a_reason_not_a_silence(tmp_path):
    from contenders import contender
    from peer_list import PEERS

    from perceiver_edge.errors import NotRunError

    peer = next(peer for peer in PEERS if peer.environment == "openvino")
    with pytest.raises(NotRunError, match=r"environments\.py openvino"):
        contender(peer, tmp_path, tmp_path)


@pytest.mark.parametrize(("name", "shape"), [("video", (16, 64, 64, 3)), ("audio", (12288, 1)), ("points", (2048, 3))])
def test_synthetic_inputs_are_distinct_finite_and_the_same_each_time(name, shape, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn brings the photographs")
    from natural import samples_file

    from perceiver_edge.compiler.resolve import resolve_model

    samples = np.load(samples_file(resolve_model(name), tmp_path / "a", count=3))
    assert samples.shape == (3, *shape)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    assert not np.allclose(samples[0], samples[1])
    np.testing.assert_array_equal(samples, np.load(samples_file(resolve_model(name), tmp_path / "b", count=3)))


def test_texts_fill_the_model_and_some_end_earlier(tmp_path):
    from natural import samples_file

    from perceiver_edge.compiler.resolve import resolve_model

    model = resolve_model(GOLDEN / "masked_bytes")
    with np.load(samples_file(model, tmp_path, count=8)) as samples:
        lengths = samples["mask"].sum(1)
        assert (samples["input"] != 0).sum(1).tolist() == lengths.tolist()
    assert lengths.max() == model.sample_shape[0]
    assert lengths.min() < lengths.max()


def test_a_model_of_transformers_is_measured_against_peers_that_start_from_it():
    from peer_list import PEERS, peers_of

    from perceiver_edge.compiler.resolve import resolve_model

    assert peers_of(resolve_model("tiny")) is PEERS
    names = {peer.made_by for peer in peers_of(resolve_model(GOLDEN / "snippets"))}
    assert names >= {
        "transformers eager", "torch.onnx float32", "ORT quantize_dynamic", "OpenVINO float32", "OpenVINO + NNCF int8",
        "litert-torch float32", "ai-edge-quantizer dynamic",
    }  # fmt: skip
    assert not any("TF converter" in name or "perceiver-pytorch" in name for name in names)


def test_every_environment_of_a_peer_has_its_versions():
    from environments import THIS, requirements
    from peer_list import PEERS, PEERS_OF_TRANSFORMERS

    needed = {peer.environment for peer in (*PEERS, *PEERS_OF_TRANSFORMERS)} - {THIS}
    assert needed == set(requirements())


@pytest.mark.parametrize("name", ["digits_conv", "masked_bytes"])
def test_a_trained_model_brings_at_least_a_thousand_answers(name, tmp_path):
    from measure import share_right
    from sources import source_of

    source = source_of(name, tmp_path)
    with np.load(source.held_out_data) as held_out:
        assert len(held_out["input"]) == len(source.labels) == source.counts[1]
    assert (source.labels >= 0).sum() >= 1_000
    right = np.eye(300)[np.maximum(source.labels, 0)]
    assert share_right(right, source.labels) == 1
    assert share_right(np.roll(right, 1, -1), source.labels) == 0


def test_peers_get_every_input_of_a_calibration_sample(tmp_path):
    from peer_files import work_folder
    from recipes.recipe import calibration

    from perceiver_edge.compiler.resolve import resolve_model

    model = resolve_model(GOLDEN / "snippets")
    inputs = {"input": np.arange(80, dtype=np.int32).reshape(2, 40), "mask": np.ones((2, 40), bool)}
    work = work_folder(tmp_path, model, inputs)
    assert work_folder(tmp_path, model, {**inputs, "mask": np.zeros((2, 40), bool)}) != work
    feeds = calibration(work)
    assert [list(one) for one in feeds] == [["input", "mask"]] * 2
    np.testing.assert_array_equal(feeds[1]["input"], inputs["input"][1:])
    assert json.loads((work / "model" / "config.json").read_text())["architectures"] == [
        "PerceiverForSequenceClassification"
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds ``result.json``, with all that was made below ``cache``; no environment of another engine is there."""
    pytest.importorskip("sklearn", reason="scikit-learn brings the photographs")
    pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")
    pytest.importorskip("sympy", reason="ONNX Runtime's pre-processing needs sympy")
    folder = tmp_path_factory.mktemp("cpu")
    done = run("--model", "tiny", "--quick", "--cache", "cache", "--output", "result.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_all_of_this_environment_is_measured_and_the_rest_is_named(result):
    measured = {(row["engine"], row["precision"], row["is_ours"]) for row in result["rows"]}
    engines = ("litert", "onnxruntime")
    peers = {(engine, precision, False) for engine in engines for precision in ("fp32", "dynamic", "int8")}
    assert measured == peers | {(engine, precision, True) for engine in engines for precision in ("fp32", "int8")}
    assert {one["engine"] for one in result["missing"]} == {"openvino", "torch", "executorch"}
    assert all("environments.py" in one["reason"] for one in result["missing"])


@pytest.mark.slow
def test_a_row_has_all_that_was_asked_for(result):
    for row in result["rows"]:
        assert row["relative_l2"] < (1e-5 if row["precision"] == "fp32" else 0.5)
        run = row["runs"]["2"]
        assert len(run["samples_ms"]) == 3
        assert run["times_floor"] > 1
        assert run["load_ms"] > 0
        if row["made_by"] == "perceiver_edge int8":
            assert (run["ratio"], run["against"]) == (1, row["engine"])


@pytest.mark.slow
def test_the_weight_cache_changes_no_answer(result):
    rows = {row["made_by"]: row for row in result["rows"] if row["engine"] == "litert"}
    for made_by in ("perceiver_edge int8", "TF converter float32"):
        assert rows[f"{made_by}, weight cache"]["relative_l2"] == rows[made_by]["relative_l2"]


@pytest.mark.slow
def test_a_second_run_only_measures(folder):
    def made():
        files = (path for path in (folder / "cache").rglob("*") if path.suffix in {".tflite", ".onnx", ".npy"})
        return {path: path.stat().st_mtime_ns for path in files}

    before = made()
    done = run("--model", "tiny", "--quick", "--no-floor", "--cache", "cache", "--output", "again.json", cwd=folder)
    assert done.returncode == 0, done.stderr
    again = json.loads((folder / "again.json").read_text())
    assert all(run["floor_ms"] is None for row in again["rows"] for run in row["runs"].values())
    assert again["comparisons"]
    assert made() == before


@pytest.mark.slow
def test_the_table_and_the_picture_show_every_row(folder, result):
    table = run("--table", folder / "result.json", cwd=folder).stdout
    picture = (folder / "result.svg").read_text()
    for row in result["rows"]:
        assert row["made_by"] in table
        assert row["made_by"] in picture
    assert all(one["made_by"] in table for one in result["missing"])


def test_a_table_of_something_else_is_refused(tmp_path):
    (tmp_path / "other.json").write_text("{}")
    done = run("--table", tmp_path / "other.json", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@pytest.mark.parametrize(("is_classifier", "verdict"), [(True, "within bounds"), (False, "out of bounds")])
def test_a_logit_that_hardly_varies_is_no_output_with_gates_of_its_own(is_classifier, verdict):
    from types import SimpleNamespace

    from measure import judged

    reference = np.random.default_rng(0).normal(size=(16, 5))
    reference[:, 3] = 2 + 1e-4 * reference[:, 3]
    config = SimpleNamespace(is_classifier=is_classifier)
    model = SimpleNamespace(is_random_weights=True, checkpoint=SimpleNamespace(config=config))
    held_out = SimpleNamespace(reference=reference, labels=None)
    subject = SimpleNamespace(model=model, held_out=held_out, labels=None)
    result = judged(subject, np.round(reference, 1), "int8")
    assert result["verdict"] == verdict
