"""convert with its cache: what is not repeated, what always is, and that the bundle is the same either way."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge import convert
from perceiver_edge.bundle.folder import read_bundle

OF_THIS_RUN = {"report.html", "README.md", "latency.json", "manifest.json"}
"""Files that tell of the latency that was measured."""

CACHED_STAGES = {"calibrate", "convert", "run the float reference"}


@pytest.fixture
def run(tiny, tmp_path, monkeypatch, capsys):
    """Compile tiny with a cache of the test's own, in ``home``; returns the bundle, the stages and what was shown."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))

    def convert_it(*options, arguments=tiny):
        capsys.readouterr()
        arguments = [*map(str, arguments), *options, "--output", str(tmp_path / "out"), "--overwrite", "--json"]
        assert convert.main(arguments) == 0
        printed = capsys.readouterr()
        stages = {stage["title"]: stage for stage in json.loads(printed.out)["stages"]}
        return read_bundle(tmp_path / "out"), stages, printed.err

    return convert_it


@pytest.fixture(scope="module")
def made_once(tiny, tmp_path_factory):
    """The entries of one run, never to be changed."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home))
        assert convert.main([*tiny, "--output", str(home / "out"), "--quiet"]) == 0
    return home / "perceiver_edge" / "results"


@pytest.fixture
def filled(made_once, tmp_path):
    """The folder of the test's own cache, after one run."""
    return Path(shutil.copytree(made_once, tmp_path / "home" / "perceiver_edge" / "results"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def cached(stages):
    return {title for title, stage in stages.items() if stage["is_cached"]}


def same_files(one, other):
    names = {path.name for path in one.path.iterdir()} - OF_THIS_RUN
    return all(one.read(name) == other.read(name) for name in names)


def test_a_second_run_repeats_no_stage_and_gives_the_same_bytes(run, filled, compiled):
    bundle, stages, shown = run()
    assert cached(stages) == CACHED_STAGES
    assert "✓ calibrate (cached) 0.0 s" in shown
    assert same_files(read_bundle(compiled), bundle)


def test_without_the_cache_everything_is_made_again_and_nothing_is_written(run, tmp_path, compiled):
    bundle, stages, shown = run("--no-cache")
    assert cached(stages) == set()
    assert not (tmp_path / "home").exists()
    assert same_files(read_bundle(compiled), bundle)
    peaks = [stage["peak_bytes"] for stage in stages.values()]
    assert all(100e6 < peak < 100e9 for peak in peaks)  # TensorFlow alone is hundreds of megabytes
    # A peak never falls, but Linux counts memory approximately, each processor on its own for a while.
    assert all(later >= 0.98 * earlier for earlier, later in itertools.pairwise(peaks))
    assert all(line.endswith(" MB") for line in shown.splitlines() if line.startswith("✓"))


@pytest.mark.parametrize(
    ("options", "still_cached"),
    [
        (["--quantize", "dynamic"], {"run the float reference"}),
        (["--method", "mse"], {"run the float reference"}),
        (["--only", "--formats", "onnx"], CACHED_STAGES),
        (["--batch", "2"], {"calibrate", "run the float reference"}),
        (["--seed", "1"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_repeats_the_stages_that_depend_on_it(options, still_cached, run, filled):
    assert cached(run(*options)[1]) == still_cached


def test_other_samples_are_calibrated_with_and_proven_with(run, filled, tiny, samples, tmp_path):
    np.save(tmp_path / "changed.npy", np.load(samples) * np.float32(0.9))
    arguments = [str(tmp_path / "changed.npy") if argument == str(samples) else argument for argument in tiny]
    assert cached(run(arguments=arguments)[1]) == set()


def test_other_code_repeats_everything(run, filled, monkeypatch):
    monkeypatch.setattr("perceiver_edge.provenance.source_digest", lambda: "changed")
    assert cached(run()[1]) == set()


def test_damaged_entries_are_replaced(run, filled, compiled):
    whole = contents(filled)
    assert len(whole) == 6  # ranges, four artefacts, the reference's outputs
    for name, content in whole.items():
        (filled / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    bundle, stages, _ = run()
    assert cached(stages) == set()
    assert contents(filled) == whole
    assert same_files(read_bundle(compiled), bundle)


def test_a_cache_that_cannot_be_written_is_told_and_not_fatal(run, tmp_path):
    (tmp_path / "home").write_text("not a folder")
    _, stages, shown = run()
    assert cached(stages) == set()
    assert shown.count("cannot be kept") == 1
