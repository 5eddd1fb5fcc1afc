"""Bundles on the Hugging Face Hub: there and back, by `huggingface_hub` (the extra ``hub``)."""

from __future__ import annotations

import dataclasses
import errno
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from perceiver_edge.bundle.bundle import Bundle
from perceiver_edge.bundle.folder import publish, read_bundle
from perceiver_edge.bundle.manifest import MANIFEST_NAME, Manifest, seal
from perceiver_edge.cache import user_folder
from perceiver_edge.errors import BadInputError, first_line, importing

SCHEME = "hf://"
CARD = "README.md"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHTS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
_BESIDE = {"config.json", "preprocessor_config.json"}
"""What is read beside weights, where it is there."""

_PIPELINE_TAGS = {1: None, 2: "image-classification", 3: "video-classification"}
"""By number of input axes, for classifiers: one axis may be sound, text or points."""


def load_bundle(source: str | Path) -> Bundle:
    """A bundle from its folder, or from the Hugging Face Hub.

    Args:
        source: the folder, or ``hf://user/name``, which is fetched into the user's cache. Without network, what was
            fetched before is used.

    Raises:
        BadInputError: not a bundle, or a file is missing or damaged, or the Hub does not give it.
        MissingExtraError: huggingface_hub is not installed (for ``hf://``).
    """
    text = str(source)
    return read_bundle(fetch_bundle(text.removeprefix(SCHEME)) if text.startswith(SCHEME) else source)


def fetch_bundle(repository: str) -> Path:
    """The folder that a repository ``user/name`` of the Hub was fetched into, newest revision, all its files.

    Raises:
        BadInputError: no such name, or it cannot be reached and was not fetched before.
        MissingExtraError: huggingface_hub is not installed.
    """
    _require_name(repository)
    folder = user_folder() / "hub" / repository.replace("/", "--")
    hub = _library()
    with _refusals_of(repository):
        # Into a folder of its own: the Hub's cache links to blobs, and a bundle's files must lie in its folder.
        return Path(hub.snapshot_download(repository, local_dir=folder))


def fetch_model(repository: str) -> tuple[Path, tuple[str, ...]]:
    """The folder in the Hub's own cache with what is read of a repository's model, newest revision; and notices.

    A repository may hold its weights in several formats, and much else. Without network, the cache's folder, which may
    be one that transformers has filled; a notice says of which revision.

    Raises:
        BadInputError: no such name, or it cannot be reached and is not in the cache.
        MissingExtraError: huggingface_hub is not installed.
    """
    _require_name(repository)
    hub = _library()
    with _refusals_of(repository):
        try:
            newest = hub.model_info(repository)
        except Exception as error:
            if not _is_without_network(error):
                raise
            # Of no pattern: the cache then does not ask for the files that are never read.
            folder = Path(hub.snapshot_download(repository, local_files_only=True, allow_patterns=[]))
            return folder, (
                f"The Hub did not answer ({first_line(error)}): revision {folder.name} of {SCHEME}{repository} is used,"
                " from the cache. There may be a newer one.",
            )
        read = read_of([file.rfilename for file in newest.siblings])
        folder = Path(hub.snapshot_download(repository, allow_patterns=read))  # by branch, which the cache remembers
        if folder.name != newest.sha:  # the branch has moved in between, and names are of before
            folder = Path(hub.snapshot_download(repository, revision=newest.sha, allow_patterns=read))
        return folder, ()


def read_of(names: Sequence[str]) -> list[str]:
    """Which files of a repository are read: of weights in several formats the first of `_WEIGHTS`.

    Shards are known by their names, ``model-00001-of-00002.safetensors``. Of a repository that has none of these forms,
    all files.
    """
    for stem, suffix in _WEIGHTS:
        one, index = f"{stem}{suffix}", f"{stem}{suffix}.index.json"
        shard = re.compile(rf"{stem}-\d+-of-\d+{re.escape(suffix)}")
        chosen = {one} if one in names else {index, *filter(shard.fullmatch, names)} if index in names else set()
        if chosen:
            return [name for name in names if name in chosen or name in _BESIDE]
    return list(names)


def push(bundle: Bundle, repository: str, *, base_model: str | None = None, private: bool = False) -> str:
    """Upload a bundle, its card with the Hub's metadata before it, and return the address of its page.

    Args:
        repository: ``user/name``; made if it is not there.
        base_model: the id of the model on the Hub that was compiled.
        private: make a new repository private.

    Raises:
        BadInputError: no such name, the Hub refuses, or it cannot be reached; the message has its words.
        MissingExtraError: huggingface_hub is not installed.
    """
    _require_name(repository)
    hub = _library()
    with tempfile.TemporaryDirectory() as work:
        card = hub.ModelCard(f"---\n{_metadata(bundle, hub, base_model).to_yaml()}\n---\n{bundle.read(CARD).decode()}")
        folder = publish(_with_card(bundle, str(card).encode()), Path(work) / "bundle", overwrite=False)
        names = [MANIFEST_NAME, *bundle.manifest.all_files()]
        with _refusals_of(repository):
            api = hub.HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=names, delete_patterns="*")
        return f"{api.endpoint}/{repository}"


def _with_card(bundle: Bundle, card: bytes) -> dict[str, bytes]:
    files = {name: bundle.read(name) for name in bundle.manifest.all_files()} | {CARD: card}
    return seal(dataclasses.replace(bundle.manifest, files={}), files)


def _metadata(bundle: Bundle, hub: ModuleType, base_model: str | None) -> Any:
    manifest: Manifest = bundle.manifest
    task = _PIPELINE_TAGS[manifest.config.input_axis] if manifest.is_classifier else None
    results = [
        hub.EvalResult(
            task_type=task or "other",
            dataset_type="held-out",
            dataset_name=bundle.parity.samples_source,
            metric_type=name,
            metric_value=round(value, 6),
            metric_name=f"{name.replace('_', ' ')} of {artefact.name}",
        )
        for artefact in bundle.parity.artefacts
        for name in ("accuracy", "top1_agreement", "relative_l2", "cosine")
        if (value := getattr(artefact.judgement.metrics, name)) is not None
    ]
    return hub.ModelCardData(
        library_name="perceiver-edge",
        pipeline_tag=task,
        base_model=base_model,
        model_name=manifest.name,
        tags=["perceiver", *_kinds(manifest, "format"), *_kinds(manifest, "precision"), "edge"],
        eval_results=results,
    )


def _kinds(manifest: Manifest, attribute: str) -> list[str]:
    return sorted({getattr(artefact, attribute) for artefact in manifest.artefacts.values()})


def _require_name(repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise BadInputError("This is not a repository of the Hub.", expected="user/name", got=repr(repository))


def _library() -> ModuleType:
    with importing("huggingface_hub", "hub"):
        import huggingface_hub
    return huggingface_hub


@contextmanager
def _refusals_of(repository: str) -> Iterator[None]:
    """What the library raises becomes ours, but for what this machine's disk says."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, (OSError, ValueError)) or _is_without_network(error)):  # what all its errors are
            raise
        if isinstance(error, OSError) and (error.filename is not None or error.errno == errno.ENOSPC):
            raise BadInputError("A file cannot be read or written here.", got=error, where=error.filename) from error
        what = "The Hub did not answer." if _is_offline(error) else "The Hub refused."
        said = first_line(error).removeprefix("Got: ")
        raise BadInputError(
            what, got=said, where=f"{SCHEME}{repository}",
            fix="without network, pass a folder that was fetched where there is one (`hf download`); for a private "
            "repository, run `hf auth login` first",
        ) from error  # fmt: skip


def _is_offline(error: Exception) -> bool:
    return not hasattr(error, "response") or error.response is None


def _is_without_network(error: Exception) -> bool:
    """Offline by its settings, or an error of what lies under the library: httpx, or httpx2."""
    return isinstance(error, ConnectionError) or any(kind.__name__ == "TransportError" for kind in type(error).__mro__)
