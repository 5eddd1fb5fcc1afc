"""What a bundle says about itself: `Manifest`, a plain value with one deterministic JSON form (no times, no paths)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perceiver_edge.bundle.names import require_usable_names
from perceiver_edge.bundle.pictures import preprocessing_of
from perceiver_edge.config import CLASS_NAMES, InputSpec, ModelConfig, parse_class_names, parse_config
from perceiver_edge.errors import BadInputError
from perceiver_edge.files.preprocessing import to_dict
from perceiver_edge.lowering import Decision
from perceiver_edge.proof.gates import PRECISIONS
from perceiver_edge.proof.outputs import TASKS
from perceiver_edge.proof.source import Source

MANIFEST_NAME = "manifest.json"
BUNDLE_FORMAT = 1
DOCUMENTS = ("README.md", "report.html")
"""For people, who may add their notes: nothing is proven by them."""


MOST_FILE_BYTES = 1 << 36
MOST_VALUES = 1 << 31
"""Of one input or output: what a TFLite or an ONNX file can hold at all."""

_FORMATS = ("tflite", "onnx")


def _require(*conditions: bool) -> None:
    """Raises ValueError, which `Manifest.from_json` turns into an error for people."""
    if not all(conditions):
        raise ValueError("a value is of the wrong type, or out of range")


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _require(_is_whole(self.size_bytes, 0, MOST_FILE_BYTES), isinstance(self.sha256, str))

    @classmethod
    def of(cls, content: bytes) -> FileRecord:
        return cls(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    name: str
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        _require(isinstance(self.name, str), isinstance(self.dtype, str))
        _require(*(_is_whole(size, 1, MOST_VALUES) or size == -1 for size in self.shape))  # -1 is open
        _require(abs(math.prod(self.shape)) <= MOST_VALUES)


@dataclass(frozen=True, kw_only=True)
class Artefact(FileRecord):
    """One model file. ``format``: ``tflite`` or ``onnx``; ``precision``: ``fp32``, ``fp16``, ``dynamic`` or ``int8``.

    ``census`` is what was found inside, JSON-ready (see `perceiver_edge.converters.census`). The report shows it whole,
    and its ``int8_gemm_share`` (0 to 1), if there is one, beside the size. ``oldest_runtimes``: those that ran files of
    this kind, name and version.
    """

    format: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    census: Mapping[str, Any] = field(default_factory=dict)
    oldest_runtimes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(all(isinstance(runtime, str) for runtime in self.oldest_runtimes))
        _require(self.format in _FORMATS, self.precision in PRECISIONS, isinstance(self.census, Mapping))
        _require(bool(self.inputs), bool(self.outputs), all(tensor.shape for tensor in self.inputs))


@dataclass(frozen=True, kw_only=True)
class CalibrationInfo:
    method: str
    num_samples: int
    source: str
    is_random: bool

    def __post_init__(self) -> None:
        _require(isinstance(self.method, str), isinstance(self.source, str), isinstance(self.is_random, bool))
        _require(_is_whole(self.num_samples, 0, MOST_VALUES))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``class_names``: of the logits, in their order, where known.
    ``source``: how the import was checked against the framework that the model comes from; None for a model of ours.
    ``unshared_points``: the quantisation points that only one format has, by format.
    ``notices``: what to know of the samples before trusting the result, a sentence each.
    ``input_range``: (least, greatest) number of ``input`` over the samples of the proof; None for symbols.
    ``task``: ``classification`` or ``regression``; None for latents, and in old bundles.
    ``files``: the bundle's other files; `seal` fills it. ``tools``: name to version."""

    name: str
    config: ModelConfig
    input_spec: InputSpec
    weights_fingerprint: str
    is_random_weights: bool
    calibration: CalibrationInfo | None
    lowering: tuple[Decision, ...]
    unshared_points: Mapping[str, tuple[str, ...]]
    artefacts: Mapping[str, Artefact]
    tools: Mapping[str, str]
    class_names: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()
    source: Source | None = None
    task: str | None = None
    input_range: tuple[float, float] | None = None
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = (self.name, self.weights_fingerprint, *self.tools, *self.tools.values(), *self.notices)
        _require(*(isinstance(text, str) for text in texts), isinstance(self.is_random_weights, bool))
        _require(self.task in (None, *TASKS))
        if self.input_range is not None:
            _require(len(self.input_range) == 2, all(type(limit) in (int, float) for limit in self.input_range))
        for decision in self.lowering:
            _require(isinstance(decision.rule, str), isinstance(decision.reason, str))
        for points in self.unshared_points.values():
            _require(*(isinstance(point, str) for point in points))

    @property
    def is_classifier(self) -> bool:
        return self.config.is_classifier and self.task != "regression"

    def all_files(self) -> dict[str, FileRecord]:
        """Artefacts and other files by name; all but the manifest itself."""
        return {**self.artefacts, **self.files}

    def evidence(self) -> dict[str, FileRecord]:
        """The files that a proof rests on: all but `DOCUMENTS`."""
        return {name: record for name, record in self.all_files().items() if name not in DOCUMENTS}

    def float_peer(self, artefact: Artefact) -> str | None:
        """The float32 artefact of the same format, if there is one: what "smaller" and "faster" compare with."""
        peers = (name for name, a in self.artefacts.items() if a.format == artefact.format and a.precision == "fp32")
        return next(peers, None)

    def to_json(self) -> bytes:
        """The same value always gives the same bytes: sorted keys, UTF-8, a newline at the end."""
        values = dataclasses.asdict(self)
        values["config"] = {**self.config.to_dict(), **self.input_spec.to_dict()}
        del values["input_spec"]
        preprocessing = preprocessing_of(self.config, self.input_spec)
        values["preprocessing"] = None if preprocessing is None else to_dict(preprocessing)
        values["bundle_format"] = BUNDLE_FORMAT
        return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes, *, where: object) -> Manifest:
        """Inverse of `to_json`.

        Raises:
            BadInputError: not a manifest of this format, or one that names a file outside its folder.
        """
        try:
            values = json.loads(text)
            if values.pop("bundle_format") != BUNDLE_FORMAT:
                raise ValueError(f"bundle_format is not {BUNDLE_FORMAT}")
            manifest = _manifest(values, where=where)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise BadInputError(
                "This is not the manifest of a bundle, or it is damaged.",
                expected=f"the JSON that perceiver_edge {BUNDLE_FORMAT}-format bundles carry",
                got=f"{type(error).__name__}: {error}",
                where=where,
            ) from error
        require_usable_names(manifest.all_files(), but=MANIFEST_NAME, where=where)
        return manifest


def seal(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """All files of a bundle, its manifest among them: what `bundle.publish` takes.

    Args:
        manifest: lists the artefacts; its ``files`` are replaced by records of the rest.
        files: every file of the bundle but the manifest, artefacts included, by name.

    Raises:
        BadInputError: an artefact of the manifest is not among the files or is not those bytes; an unusable name.
    """
    require_usable_names(files, but=MANIFEST_NAME, where="the files of the bundle")
    records = {name: FileRecord.of(content) for name, content in files.items()}
    for name, artefact in manifest.artefacts.items():
        if records.pop(name, None) != FileRecord(size_bytes=artefact.size_bytes, sha256=artefact.sha256):
            raise BadInputError("The manifest does not describe this artefact's bytes.", where=name)
    return {**files, MANIFEST_NAME: dataclasses.replace(manifest, files=records).to_json()}


def _manifest(values: dict[str, Any], *, where: object) -> Manifest:
    config, input_spec = parse_config(values.pop("config"), where=where)
    if input_spec is None or not input_spec.shape:
        raise ValueError("config has no input_shape")
    values.pop("preprocessing", None)  # for the runtime; it follows from the configuration
    calibration = values.pop("calibration")
    source = values.pop("source", None)
    class_names = parse_class_names({CLASS_NAMES: values.pop(CLASS_NAMES, None)}, config, where=where)
    return Manifest(
        config=config,
        input_spec=input_spec,
        class_names=class_names,
        source=None if source is None else Source(**source),
        calibration=None if calibration is None else CalibrationInfo(**calibration),
        lowering=tuple(Decision(**decision) for decision in values.pop("lowering")),
        unshared_points={key: tuple(names) for key, names in values.pop("unshared_points").items()},
        artefacts={name: _artefact(artefact) for name, artefact in values.pop("artefacts").items()},
        notices=tuple(values.pop("notices", ())),
        input_range=None if (limits := values.pop("input_range", None)) is None else tuple(limits),
        files={name: FileRecord(**record) for name, record in values.pop("files").items()},
        **values,
    )


def _artefact(values: dict[str, Any]) -> Artefact:
    inputs, outputs = (
        tuple(TensorSpec(**{**tensor, "shape": tuple(tensor["shape"])}) for tensor in values.pop(side))
        for side in ("inputs", "outputs")
    )
    oldest = tuple(values.pop("oldest_runtimes", ()))
    return Artefact(inputs=inputs, outputs=outputs, oldest_runtimes=oldest, **values)
