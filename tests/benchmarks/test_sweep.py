"""The sweeps: which sizes, what becomes of one that fails, and what the table and the picture show. Nothing is made."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from perceiver_edge.config import PRESETS
from perceiver_edge.errors import ConversionError
from perceiver_edge.measure.side_by_side import Measured
from perceiver_edge.measure.worker import Started, WorkerError
from perceiver_edge.progress import silent
from perceiver_edge.runtime import Latency

README, _ = PRESETS["readme"]


def row(made_by, *, engine="litert", ms=10.0, peak=5_000_000, verdict="within bounds"):
    return {
        "made_by": made_by, "engine": engine, "precision": "fp32", "is_ours": made_by.startswith("perceiver_edge"),
        "size_bytes": 1, "rounds": 5, "p50_ms": ms, "p10_ms": ms, "p90_ms": ms, "peak_bytes": peak, "verdict": verdict,
    }  # fmt: skip


@pytest.fixture
def result():
    """Two sizes; one peer is collapsed at the first, and did not run at the second."""
    return {
        "benchmark": "sweep", "model": "readme", "axis": "tokens", "threads": 2, "quick": False,
        "machine": {"cpu": "a CPU", "architecture": "x86_64", "instructions": ["avx2"], "processors": 2},
        "points": [
            {
                "size": 1024, "input_shape": "32×32", "num_latents": 256, "missing": [],
                "rows": [
                    row("TF converter float32", ms=31.4159),
                    row("perceiver_edge int8", ms=7.5, peak=61_000_000),
                    row("OpenVINO float32", engine="openvino", verdict="collapsed", ms=12.0),
                ],
            },
            {
                "size": 4096, "input_shape": "64×64", "num_latents": 256,
                "missing": [{"made_by": "OpenVINO float32", "engine": "openvino", "reason": "no memory\n for it"}],
                "rows": [row("TF converter float32", ms=62.0), row("perceiver_edge int8", ms=9.0, peak=None)],
            },
        ],
    }  # fmt: skip


def test_a_sweep_over_tokens_varies_nothing_else():
    from sweep import variants

    assert [variant.size for variant in variants("tokens", quick=False)] == [32**2, 64**2, 128**2, 224**2, 512**2]
    for variant in variants("tokens", quick=False):
        assert variant.config == README
        assert np.prod(variant.spec.shape) == variant.size
        assert variant.spec.image_std == (0.5,)


def test_a_sweep_over_latents_varies_nothing_else():
    from sweep import variants

    assert [variant.size for variant in variants("latents", quick=False)] == [64, 128, 256, 512]
    for variant in variants("latents", quick=False):
        assert variant.config.num_latents == variant.size
        assert {**variant.config.to_dict(), "num_latents": 256} == README.to_dict()
        assert variant.spec.shape == (224, 224)


def test_the_sweeps_share_the_files_of_the_point_where_they_cross():
    from sweep import variants

    tokens, latents = ({one.name: one for one in variants(axis, quick=False)} for axis in ("tokens", "latents"))
    (crossing,) = tokens.keys() & latents.keys()
    assert (tokens[crossing].config, tokens[crossing].spec) == (latents[crossing].config, latents[crossing].spec)


def test_all_that_is_compared_is_a_peer_and_comes_after_what_it_is_made_from():
    from peer_list import PEERS
    from sweep import _COMPARED

    peers = [peer.made_by for peer in PEERS if peer.made_by in _COMPARED]
    assert set(peers) == set(_COMPARED)
    assert peers.index("tf2onnx float32") < peers.index("OpenVINO float32")


def test_a_size_that_fails_is_listed_and_the_next_is_measured_all_the_same(tmp_path, monkeypatch):
    import sweep
    from contenders import Contender

    (tmp_path / "model").touch()
    one, other = (
        Contender(made_by=name, engine="litert", precision="fp32", is_ours=True, file=tmp_path / "model", python=None)
        for name in ("perceiver_edge fp32", "it dies")
    )
    subject = SimpleNamespace(held_out=SimpleNamespace(inputs={"input": np.zeros((2, 1), np.float32)}))

    def read(variant, cache, _progress):
        if variant.size == 32**2:
            raise ConversionError("It could not be compiled.", where=cache.absolute() / "x")
        return subject

    def timed(workers, **_):
        failed = WorkerError("A worker ended.", got="exit code -9")
        fine = Measured(
            Started(1.0, 1.0), Latency((1.0, 2.0, 3.0)), Latency((2.0, 3.0, 4.0)), 1.0, 2.0, 7, np.zeros((2, 1))
        )  # fmt: skip
        return dict(zip(workers, (fine, failed), strict=True))

    monkeypatch.setattr(sweep, "_subject", read)
    monkeypatch.setattr(sweep, "prepare", lambda *_, **__: ([one, other], []))
    monkeypatch.setattr(sweep, "groups", lambda present, *_, **__: [present])
    monkeypatch.setattr(sweep, "measure_side_by_side", timed)
    monkeypatch.setattr(sweep, "judged", lambda *_: {"verdict": "within bounds"})
    result = sweep.sweep("tokens", tmp_path, threads=1, rounds=3, quick=True, leave_out=(), progress=silent)

    failed, measured = result["points"]
    assert (failed["size"], failed["rows"]) == (32**2, [])
    assert "could not be compiled" in failed["missing"][0]["reason"]
    assert str(tmp_path) not in failed["missing"][0]["reason"]
    assert [(found["made_by"], found["p50_ms"], found["peak_bytes"]) for found in measured["rows"]] == [
        ("perceiver_edge fp32", 2.0, 7)
    ]
    assert [gone["made_by"] for gone in measured["missing"]] == ["it dies"]
    json.dumps(result, allow_nan=False)


def test_the_table_has_every_size_and_model_and_says_what_is_no_competitor(result):
    from sweep_presentation import markdown_table

    times, memory, conditions, missing = markdown_table(result).split("\n\n")
    assert times.splitlines() == [
        "| engine | model, ms | 1,024 tokens (32×32) | 4,096 tokens (64×64) |",
        "| :-- | :-- | --: | --: |",
        "| LiteRT | TF converter float32 | 31.4 | 62 |",
        "| LiteRT | **perceiver_edge int8** | 7.5 | 9 |",
        "| OpenVINO | OpenVINO float32 | 12 (collapsed) | – |",
    ]
    assert "| LiteRT | **perceiver_edge int8** | 61 | – |" in memory
    assert "2 of 2 processors" in conditions
    assert missing == "Not run at 4,096 tokens (64×64): OpenVINO float32 (no memory for it)"


def test_the_command_prints_a_sweep_and_refuses_what_is_none(result, tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "cpu", raising=False)
    import cpu

    (tmp_path / "sweep.json").write_text(json.dumps(result))
    assert cpu.main(["--table", str(tmp_path / "sweep.json")]) == 0
    assert "perceiver_edge int8" in capsys.readouterr().out
    (tmp_path / "gpu.json").write_text('{"benchmark": "gpu"}')
    assert cpu.main(["--table", str(tmp_path / "gpu.json")]) == 2


def texts(path: Path) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ElementTree.parse(path).iter() if node.tag.endswith("text")]


def test_the_picture_has_both_panels_every_model_and_every_size(result, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")
    from chart import line_chart

    line_chart(result, tmp_path / "sweep.svg")
    shown = texts(tmp_path / "sweep.svg")
    for text in (
        "TF converter float32 · LiteRT",
        "perceiver_edge int8 · LiteRT",
        "OpenVINO float32",
        "output out of bounds or collapsed",
    ):
        assert shown.count(text) == 1
    assert sum("ms" in text for text in shown) == 1
    assert sum("MB" in text for text in shown) == 1
    for text in ("1,024", "4,096", "tokens"):
        assert shown.count(text) == 2, text


def test_lines_of_a_picture_differ_without_colour():
    pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")
    from chart import _OUR_STYLES, _PEER_STYLES

    styles = [*_OUR_STYLES, *_PEER_STYLES]
    assert len({style["marker"] for style in styles}) == len(styles)


def test_a_sweep_of_which_nothing_ran_is_still_a_picture_and_a_table(result, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")
    from chart import line_chart
    from sweep_presentation import markdown_table

    for point in result["points"]:
        point["rows"] = []
    line_chart(result, tmp_path / "sweep.svg")
    assert "Not run at 4,096 tokens" in markdown_table(result)


def test_a_run_stopped_while_it_makes_photographs_leaves_none_that_the_next_would_take(tmp_path, monkeypatch):
    import natural

    def stopped(folder, **_):
        folder.mkdir()
        (folder / "p000.png").touch()
        raise KeyboardInterrupt

    model = SimpleNamespace(sample_shape=(32, 32, 3))
    monkeypatch.setattr(natural.make_photographs, "make", stopped)
    with pytest.raises(KeyboardInterrupt):
        natural.samples_file(model, tmp_path, count=4)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(natural.make_photographs, "make", lambda folder, **_: folder.mkdir())
    assert natural.samples_file(model, tmp_path, count=4) == tmp_path / "photographs_32"


def test_a_compiler_that_is_killed_is_a_reason_although_it_says_nothing(tmp_path, monkeypatch):
    import subject

    from perceiver_edge.compiler.resolve import resolve_model

    killed = subprocess.CompletedProcess([], -9, stderr="")
    monkeypatch.setattr(subject.subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(ConversionError, match="exit code -9"):
        subject._bundle("tiny", [], resolve_model("tiny"), tmp_path, silent)
