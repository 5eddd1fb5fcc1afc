"""`Bundle`: a published folder as a value, with what was measured and its models ready to run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.manifest import DOCUMENTS, FileRecord, Manifest
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.files.reading import MOST_TEXT_BYTES, read_file
from perceiver_edge.proof.parity import ParityReport

if TYPE_CHECKING:
    from perceiver_edge.runtime import Runner


@dataclass(frozen=True, repr=False)
class Bundle:
    """A bundle whose evidence, `Manifest.evidence`, was there and whole when it was read.

    Attributes:
        path: the folder, absolute.
        manifest: what the bundle says about itself.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        return f"<Bundle {self.manifest.name}: {', '.join(self.manifest.artefacts)}; {self.path}>"

    def _repr_html_(self) -> str | None:
        """The report's table, for notebooks."""
        from perceiver_edge.bundle.report import render_table

        return render_table(self.manifest, self.parity, latency=self.latency["artefacts"])

    def read(self, name: str) -> bytes:
        """The bytes of one file of the bundle, checked again; of a document for people, as they are.

        Raises:
            BadInputError: the manifest does not list the file, or it is missing or damaged.
        """
        records = self.manifest.all_files()
        if name not in records:
            raise BadInputError("The bundle has no such file.", expected=", ".join(records), got=name, where=self.path)
        if name in DOCUMENTS:
            return read_file(self.path / name, most_bytes=MOST_TEXT_BYTES, what=name)
        return checked_bytes(self.path, name, records[name])

    @cached_property
    def parity(self) -> ParityReport:
        """How far each model's answers are from the float model's, and the verdicts.

        Raises:
            BadInputError: ``parity.json`` is missing or damaged.
        """
        return ParityReport.from_dict(self._json("parity.json"))

    @cached_property
    def latency(self) -> Mapping[str, Any]:
        """``device``, in words; ``threads``; ``rounds``; and ``artefacts``: by file name ``median_ms``, ``p10_ms`` and
        ``p90_ms`` of one call, and ``samples_ms``, the times of all rounds, which are in turns.

        Raises:
            BadInputError: ``latency.json`` is missing or damaged.
        """
        values = self._json("latency.json")
        artefacts = values.get("artefacts") if isinstance(values, dict) else None
        if not isinstance(artefacts, dict) or not all(
            isinstance(times, dict) and times.keys() >= {"median_ms", "p10_ms", "p90_ms"}
            for times in artefacts.values()
        ):
            raise BadInputError(
                "The bundle's latency.json is not usable.", expected="device, threads, rounds, and times by file name",
                where=self.path / "latency.json",
            )  # fmt: skip
        return values

    def load(self, precision: str = "int8", format: str = "tflite", *, threads: int | None = None) -> Runner:
        """One of the models, ready to run; see `perceiver_edge.runtime.load`.

        Args:
            precision: ``int8``, ``dynamic``, ``fp16`` or ``fp32``.
            format: ``tflite`` or ``onnx``.
            threads: used inside one call; None for the processors it may use, at most 4.

        Raises:
            BadInputError: the bundle has no such model, or the engine cannot run it.
            MissingExtraError: the engine is not installed.
        """
        from perceiver_edge.runtime import load

        models = {(a.precision, a.format): name for name, a in self.manifest.artefacts.items()}
        if (precision, format) not in models:
            raise BadInputError(
                "The bundle has no such model.",
                expected=", ".join(f"{precision} {format}" for precision, format in models),
                got=f"{precision} {format}",
                where=self.path,
            )
        name = models[precision, format]
        self.read(name)
        return load(self.path / name, threads=threads)

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise BadInputError("A file of the bundle is not JSON.", got=error, where=self.path / name) from error


def checked_bytes(folder: Path, name: str, record: FileRecord) -> bytes:
    """The bytes of a bundle's file.

    Raises:
        BadInputError: it is missing, other than its record, or outside the folder.
    """
    path = folder / name
    if path.resolve().parent != folder:
        raise BadInputError("A file of the bundle lies outside it.", expected=f"a file in {folder}", got=path.resolve())
    content, got = None, "no file"
    if path.exists():
        content = read_file(path, most_bytes=record.size_bytes, what=name)  # never more than there should be
        got = f"{len(content)} bytes, SHA-256 {FileRecord.of(content).sha256}"
    if content is None or FileRecord.of(content) != FileRecord(size_bytes=record.size_bytes, sha256=record.sha256):
        raise BadInputError(
            f"{name} is {'missing' if content is None else 'damaged'}.",
            expected=f"{record.size_bytes} bytes, SHA-256 {record.sha256}",
            got=got,
            where=path,
            fix=f"copy the bundle again, or compile it again with {option('overwrite', True)}",
        )
    return content
