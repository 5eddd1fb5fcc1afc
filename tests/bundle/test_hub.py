"""To the Hub and back, by the real library, against a Hub on this machine."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_hub import SHA, local_hub

from perceiver_edge.bundle import hub as hub_of_bundles
from perceiver_edge.bundle.folder import publish, read_bundle
from perceiver_edge.bundle.hub import load_bundle, read_of
from perceiver_edge.data import DIGITS_CHECKPOINT
from perceiver_edge.errors import BadInputError, MissingExtraError

pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path):
    with local_hub() as running:
        yield running


@pytest.fixture
def talk(hub, tmp_path):
    """Run code in a process of its own, because the library reads its settings when it is imported."""

    def run(code, *arguments, online=True, code_expected=0):
        settings = {
            "HF_ENDPOINT": hub.address if online else "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "HF_HUB_ETAG_TIMEOUT": "20",  # a busy machine takes more than a second
        }  # fmt: skip
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(
            command, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert done.returncode == code_expected, done.stderr
        return done

    return run


PUSH = "import sys; from perceiver_edge.commands.push import main; sys.exit(main(sys.argv[1:]))"
LOAD = "import sys; from perceiver_edge import load_bundle; print(load_bundle(sys.argv[1]).path)"
TRY = """
import sys
from perceiver_edge import load_bundle, PerceiverEdgeError
try:
    load_bundle(sys.argv[1])
except PerceiverEdgeError as error:
    print(error)
"""


@pytest.fixture
def folder(proven_files, tmp_path):
    return publish(proven_files, tmp_path / "out" / "tiny", overwrite=False)


def test_there_and_back(talk, hub, folder):
    done = talk(PUSH, folder, "user/tiny", "--base-model", "someone/perceiver")
    assert f"is at {hub.address}/user/tiny" in done.stdout
    back = read_bundle(Path(talk(LOAD, "hf://user/tiny").stdout.strip()))
    sent = read_bundle(folder)
    assert back.manifest.artefacts == sent.manifest.artefacts
    for name in sent.manifest.all_files():
        if name != "README.md":
            assert back.read(name) == sent.read(name)
    card = back.read("README.md").decode()
    assert card.endswith(sent.read("README.md").decode())
    expected = [
        "library_name: perceiver-edge", "pipeline_tag: image-classification", "base_model: someone/perceiver",
        "type: relative_l2", "- perceiver", "- onnx",
    ]  # fmt: skip
    assert [line for line in expected if line not in card.split("---")[1]] == []


def test_a_float_model_is_compiled_from_there(talk, hub):
    hub.repositories["user/perceiver"] = {
        name: (DIGITS_CHECKPOINT / name).read_bytes() for name in ("config.json", "model.safetensors")
    }
    plan = "import sys; from perceiver_edge.commands.convert import main; sys.exit(main(sys.argv[1:]))"
    done = talk(plan, "--model", "hf://user/perceiver", "--calibration-data", "random", "--dry-run")
    assert "perceiver_int8.tflite" in done.stdout


CONVERT = "import sys; from perceiver_edge.commands.convert import main; sys.exit(main(sys.argv[1:]))"
PLAN = ("--calibration-data", "random", "--dry-run")


def test_of_a_model_only_what_is_read_is_fetched_and_without_network_it_is_there(talk, hub, tmp_path):
    weights = (DIGITS_CHECKPOINT / "model.safetensors").read_bytes()
    hub.repositories["user/perceiver"] = {
        "config.json": (DIGITS_CHECKPOINT / "config.json").read_bytes(), "model.safetensors": weights,
        "pytorch_model.bin": b"the same again", "training/optimizer.pt": b"much more", "README.md": b"words",
    }  # fmt: skip
    online = talk(CONVERT, "--model", "hf://user/perceiver", *PLAN).stdout
    fetched = {path.name for path in (tmp_path / "hf").rglob("*") if path.parent.parent.name == "snapshots"}
    assert fetched == {"config.json", "model.safetensors"}
    offline = talk(CONVERT, "--model", "hf://user/perceiver", *PLAN, online=False)
    assert f"revision {SHA} of hf://user/perceiver is used" in " ".join((offline.stdout + offline.stderr).split())
    files = {word for word in online.split() if word.startswith("perceiver_")}
    assert files <= set(offline.stdout.split())


class _Moving:
    """Of huggingface_hub: a repository whose branch moves on after it was asked for its files."""

    asked = ()

    def __init__(self, fails_with=None):
        self.fails_with = fails_with

    def model_info(self, repository):
        if self.fails_with is not None:
            raise self.fails_with
        return SimpleNamespace(sha="old", siblings=[SimpleNamespace(rfilename="model.safetensors")])

    def snapshot_download(self, repository, *, revision="new", local_files_only=False, allow_patterns):
        self.asked += ((revision, local_files_only),)
        return f"snapshots/{revision}"


def test_files_are_of_the_revision_that_names_were_of(monkeypatch):
    moving = _Moving()
    monkeypatch.setattr(hub_of_bundles, "_library", lambda: moving)
    assert hub_of_bundles.fetch_model("user/name") == (Path("snapshots/old"), ())
    assert moving.asked == (("new", False), ("old", False))


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (TypeError("an argument it does not have"), TypeError, "argument"),
        (PermissionError(13, "Permission denied", "/cache"), BadInputError, "cannot be read or written here"),
        (OSError(28, "No space left on device"), BadInputError, "cannot be read or written here"),
    ],
)
def test_what_is_no_silence_of_the_network_does_not_take_an_older_revision(error, raised, words, monkeypatch):
    moving = _Moving(error)
    monkeypatch.setattr(hub_of_bundles, "_library", lambda: moving)
    with pytest.raises(raised, match=words):
        hub_of_bundles.fetch_model("user/name")
    assert moving.asked == ()


def test_offline_by_its_settings_is_without_network(monkeypatch):
    from huggingface_hub.errors import OfflineModeIsEnabled

    moving = _Moving(OfflineModeIsEnabled("offline mode is enabled"))
    monkeypatch.setattr(hub_of_bundles, "_library", lambda: moving)
    folder, (notice,) = hub_of_bundles.fetch_model("user/name")
    assert moving.asked == (("new", True),)
    assert folder == Path("snapshots/new")
    assert "revision new of hf://user/name is used, from the cache" in notice


def test_a_repository_without_a_configuration_is_there_without_network(talk, hub):
    weights = (DIGITS_CHECKPOINT / "model.safetensors").read_bytes()
    hub.repositories["user/weights"] = {"my.safetensors": weights}
    fetch = "from perceiver_edge.bundle.hub import fetch_model; print(fetch_model('user/weights')[0])"
    online = talk(fetch).stdout
    assert talk(fetch, online=False).stdout == online


def test_a_model_that_was_never_fetched_is_one_error_without_network(talk):
    done = talk(CONVERT, "--model", "hf://user/never", *PLAN, online=False, code_expected=2)
    assert "The Hub did not answer." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin", "flax_model.msgpack"], 2),
        (["config.json", "pytorch_model.bin", "preprocessor_config.json", "tokenizer.json"], 3),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
          "pytorch_model.bin", "model-00001-of-00002.onnx", "other-00001-of-00002.safetensors"], 3),
        (["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin", "config.json"], 3),
        (["my.pt", "notes.txt"], 2),
        (["saved_model.pb", "variables/variables.index"], 2),
    ],
)  # fmt: skip
def test_which_files_of_a_repository_are_read(names, read):
    chosen = read_of(names)
    assert len(chosen) == read
    assert chosen == [name for name in names if name in chosen]


def test_a_second_push_replaces_what_is_no_longer_there(talk, hub, folder):
    talk(PUSH, folder, "user/tiny")
    hub.repositories["user/tiny"]["old_int8.onnx"] = b"an artefact of yesterday"
    talk(PUSH, folder, "user/tiny")
    assert "old_int8.onnx" not in hub.repositories["user/tiny"]
    talk(LOAD, "hf://user/tiny")


def test_what_was_fetched_is_there_without_network(talk, folder):
    talk(PUSH, folder, "user/tiny")
    online = talk(LOAD, "hf://user/tiny").stdout
    assert talk(LOAD, "hf://user/tiny", online=False).stdout == online


def test_without_network_the_error_says_what_helps(talk):
    told = talk(TRY, "hf://user/never", online=False).stdout
    assert "The Hub did not answer." in told
    assert "without network, pass a folder that was fetched" in told


def test_a_repository_that_is_not_there_is_refused_with_the_hubs_words(talk):
    told = talk(TRY, "hf://user/nothing").stdout
    assert "The Hub refused." in told
    assert "hf://user/nothing" in told


def test_a_repository_that_is_no_bundle_is_told_as_such(talk, hub):
    hub.repositories["user/other"] = {"README.md": b"hello"}
    assert "There is no bundle here." in talk(TRY, "hf://user/other").stdout


@pytest.mark.parametrize("name", ["hf://", "hf://digits", "hf://a/b/c", "hf://../x"])
def test_a_name_that_is_none_is_refused_before_anybody_is_asked(name):
    with pytest.raises(BadInputError, match="not a repository of the Hub"):
        load_bundle(name)


class _Hub:
    """Of huggingface_hub, what ends badly."""

    class ModelCard:
        def __init__(self, text):
            raise ValueError("a card that is none")

    class HfApi:
        endpoint = "https://hub"

        def create_repo(self, *arguments, **options):
            raise OSError(28, "No space left on device")

    ModelCardData, EvalResult = dict, dict


def test_what_fails_on_this_machine_is_not_told_as_a_silent_hub(monkeypatch, folder):
    monkeypatch.setattr(hub_of_bundles, "_library", lambda: _Hub)
    monkeypatch.setattr(hub_of_bundles, "_metadata", lambda *given: SimpleNamespace(to_yaml=str))
    with pytest.raises(ValueError, match="a card that is none"):
        hub_of_bundles.push(read_bundle(folder), "user/name")
    monkeypatch.setattr(_Hub, "ModelCard", str)
    with pytest.raises(BadInputError, match="cannot be read or written here") as caught:
        hub_of_bundles.push(read_bundle(folder), "user/name")
    assert "The Hub" not in str(caught.value)


def test_the_tags_are_those_of_the_files(folder):
    import huggingface_hub

    sent = read_bundle(folder)
    artefacts = {name: dataclasses.replace(a, precision="fp16") for name, a in sent.manifest.artefacts.items()}
    half = dataclasses.replace(sent, manifest=dataclasses.replace(sent.manifest, artefacts=artefacts))
    assert hub_of_bundles._metadata(half, huggingface_hub, None).tags == ["perceiver", "onnx", "fp16", "edge"]


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"perceiver-edge\[hub\]"):
        load_bundle("hf://user/name")
