"""The options of a compilation: each is declared once, here.

`perceiver_edge.compile` takes them as arguments, with this signature; `python -m perceiver_edge.convert` takes them as
flags, made from the same declarations (`perceiver_edge.commands.flags`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from perceiver_edge.calibration import METHODS, Ranges
from perceiver_edge.compiler.artefacts import FORMATS, QUANTIZE
from perceiver_edge.compiler.representative import NUM_CALIBRATION
from perceiver_edge.errors import BadInputError, did_you_mean
from perceiver_edge.errors import option as spelled
from perceiver_edge.files.preprocessing import KEPT, RESIZE
from perceiver_edge.lowering import OPTIMIZE_FOR
from perceiver_edge.progress import Progress, in_notebooks
from perceiver_edge.proof.gates import Gates
from perceiver_edge.proof.outputs import TASKS
from perceiver_edge.runtime import default_threads

if TYPE_CHECKING:
    from perceiver_edge.checkpoints import Checkpoint
    from perceiver_edge.model import Perceiver

OPSETS = range(18, 21)
"""tf2onnx 1.17 is sure of 18; ONNX's version converter takes that to 20, where Gelu becomes an operator."""

LEAST_HELD_OUT = 2
"""One sample has no spread over the input, so the sensitivity gate could not be measured."""

_MOST = {"batch": 1024, "threads": 1024, "num_samples": 1_000_000, "num_held_out": 1_000_000}
"""More is a mistake, and takes memory without end."""

_MOST_POSITIONS = 1_000_000

MODEL, DATA, SHAPE, OUTPUT = "model", "calibration and proof", "the deployed model", "output"
"""Groups of ``--help``."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """How an option is written on the command line.

    Attributes:
        help: what it does; `compile` says the same.
        group: of ``--help``; None for what only Python can say.
        name: the flag; by default the option's own name.
        metavar: what stands for the value.
        choices: all values there are.
        parse: from the text to the value; raises ValueError with what was expected.
        is_repeated: may be given several times, and the values make a tuple.
    """

    help: str
    group: str | None
    name: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] = str
    is_repeated: bool = False


def _flag(help: str, group: str | None, **flag: Any) -> dict[str, Flag]:
    return {"flag": Flag(help=help, group=group, **flag)}


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        raise ValueError("sizes with commas, such as 224,224") from None


def _whole_numbers(text: str) -> tuple[int, ...]:
    """``5,20-22`` is 5, 20, 21, 22."""
    numbers: list[int] = []
    for part in text.split(","):
        first, is_range, last = part.partition("-")
        if not first.isdecimal() or (is_range and not (last.isdecimal() and int(first) <= int(last) < _MOST_POSITIONS)):
            raise ValueError("numbers and ranges with commas, such as 5,20-35")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in QUANTIZE:
            raise ValueError(f"{', '.join(QUANTIZE)}, or several with commas{did_you_mean(name, QUANTIZE)}")
    return names


def _arguments(text: str) -> dict[str, Any]:
    values = {}
    for pair in text.split(","):
        name, is_pair, value = pair.partition("=")
        try:
            values[name.strip()] = json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
        except ValueError:
            is_pair = ""
        if not is_pair:
            raise ValueError("NAME=VALUE, several with commas, such as cross_heads=1,max_freq=10")
    return values


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise ValueError("numbers with commas, such as 0.485,0.456,0.406") from None


def _bound(text: str) -> tuple[str, float]:
    name, _, bound = text.partition("=")
    try:
        return name, float(bound)
    except ValueError:
        raise ValueError("NAME=BOUND, such as cosine=0.995") from None


@dataclass(frozen=True)
class Options:
    """How to compile. Each field's meaning is its `Flag.help`."""

    model: str | os.PathLike[str] | Checkpoint | Perceiver = field(
        default="digits",
        metadata=_flag(
            "digits (trained), readme, paper, video, audio, points or tiny (random weights); a folder with config.json "
            "and model.safetensors, ours, perceiver-pytorch's (Perceiver, PerceiverIO, PerceiverLM) or what "
            "transformers' save_pretrained wrote; hf://user/name, a repository on the Hugging Face Hub; a file of "
            "weights: .safetensors, or a state dict of PyTorch (.pt, .pth, .ckpt, .bin); a .keras file or a SavedModel "
            "of ours; from Python a Checkpoint, or a model of Keras, PyTorch or transformers",
            MODEL,
        ),
    )
    _: KW_ONLY
    config: Mapping[str, Any] = field(
        default_factory=dict,
        metadata=_flag(
            "arguments of the model's constructor that its files do not tell, such as cross_heads=1,latent_heads=8",
            MODEL,
            metavar="NAME=VALUE,…",
            parse=_arguments,
        ),
    )
    outputs: str | None = field(
        default=None,
        metadata=_flag("of a model with several outputs, the one that is computed: label (multimodal)", MODEL),
    )
    positions: tuple[int, ...] | None = field(
        default=None,
        metadata=_flag(
            "which answers of a masked language model are computed, such as 5,20-35 (default: all)", MODEL,
            metavar="N,…", parse=_whole_numbers,
        ),
    )  # fmt: skip
    quantize: str | tuple[str, ...] = field(
        default="int8",
        metadata=_flag(
            f"precisions of the models beside the float32 ones: {', '.join(QUANTIZE)}, or several, such as "
            "int8,dynamic,fp16",
            MODEL,
            metavar="NAMES",
            parse=_names,
        ),
    )
    only: bool = field(
        default=False, metadata=_flag("do not write the float32 models beside the quantised ones", MODEL)
    )
    formats: tuple[str, ...] = field(
        default=FORMATS, metadata=_flag("of the models", MODEL, choices=FORMATS, is_repeated=True)
    )
    samples: object = field(
        default=None,
        metadata=_flag(
            "representative samples, some to calibrate and others, never the same, to prove with: a folder of "
            "pictures, a .npy or .npz file keyed by input name, package.module:function (which is run), or the word "
            "random; from Python also an array [n, *axes, channels] or an iterable of samples (default: the digits' "
            "own)",
            DATA,
            name="--calibration-data",
            metavar="DATA",
        ),
    )
    labels: str | os.PathLike[str] | None = field(
        default=None,
        metadata=_flag(
            "right classes of the samples, for the accuracy: .npy, .json, or text with a line 'label' or "
            "'picture,label' a sample (default: the folders in a folder of pictures, or what comes with the samples)",
            DATA,
            metavar="FILE",
        ),
    )
    held_out_data: object = field(
        default=None,
        metadata=_flag(
            "samples to prove with that the model was not trained on, as --calibration-data; that then only calibrates",
            DATA, metavar="DATA",
        ),
    )  # fmt: skip
    num_samples: int = field(default=NUM_CALIBRATION, metadata=_flag("samples to calibrate with", DATA, parse=int))
    num_held_out: int | None = field(
        default=None,
        metadata=_flag("samples to prove with (default: 64, or all of the embedded test split)", DATA, parse=int),
    )
    seed: int = field(
        default=0, metadata=_flag("draws samples, and the weights of a preset without weights", DATA, parse=int)
    )
    method: str | None = field(
        default=None, metadata=_flag("how ranges are chosen (default: minmax)", DATA, choices=tuple(METHODS))
    )
    calibration: Ranges | str | os.PathLike[str] | None = field(
        default=None, metadata=_flag("a calibration.json to use instead of observing", DATA, metavar="FILE")
    )
    reference: str | os.PathLike[str] | Mapping[str, Any] | None = field(
        default=None,
        metadata=_flag(
            "inputs and outputs of the model in its own framework (.npz with input, output, perhaps mask): what the "
            "weights compute here must equal them to 1e-4, or nothing is converted",
            DATA,
            metavar="FILE",
        ),
    )
    gates: Mapping[str, float] = field(
        default_factory=dict,
        metadata=_flag(
            f"change a parity bound: {', '.join(gate.name for gate in fields(Gates))}; may be repeated",
            DATA,
            name="--gate",
            metavar="NAME=BOUND",
            parse=_bound,
            is_repeated=True,
        ),
    )
    task: str | None = field(
        default=None,
        metadata=_flag(
            "what the outputs are: scores of classes, or values, each with gates of its own (default: by labels, and "
            "by whether all outputs vary alike)",
            DATA, choices=TASKS,
        ),
    )  # fmt: skip
    name: str | None = field(default=None, metadata=_flag("of the bundle and its files (default: the model's)", SHAPE))
    input_shape: tuple[int, ...] | None = field(
        default=None, metadata=_flag("sizes of the input axes, such as 224,224", SHAPE, metavar="H,W", parse=_sizes)
    )
    sequence_length: int | None = field(
        default=None, metadata=_flag("--input-shape of a text, in symbols, specials included", SHAPE, parse=int)
    )
    image_mean: tuple[float, ...] | None = field(
        default=None,
        metadata=_flag(
            "of pixels in [0, 1], one number or one a channel: a pixel becomes (pixel / 255 - mean) / std", DATA,
            metavar="R,G,B", parse=_numbers,
        ),
    )  # fmt: skip
    image_std: tuple[float, ...] | None = field(
        default=None, metadata=_flag("see --image-mean", DATA, metavar="R,G,B", parse=_numbers)
    )
    resize: str | None = field(
        default=None,
        metadata=_flag(
            "pictures to the input's size. cover (the default): scaled to cover it, cropped about the centre; squash: "
            f"scaled to it; shortest: as cover, with the middle {KEPT} (Resize(256) and CenterCrop(224)); crop: a "
            f"centred square of {KEPT} of the shorter side, scaled to it, as transformers does",
            DATA, choices=tuple(RESIZE),
        ),
    )  # fmt: skip
    batch: int = field(default=1, metadata=_flag("fixed batch size", SHAPE, parse=int))
    with_mask: bool = field(
        default=False,
        metadata=_flag("add a boolean input 'mask' [batch, *axes] (True: attend to this token)", SHAPE, name="--mask"),
    )
    optimize_for: str = field(
        default="latency",
        metadata=_flag(
            "memory: attend to the tokens in chunks wherever softmax is computed in float",
            SHAPE,
            choices=tuple(OPTIMIZE_FOR),
        ),
    )
    opset: int = field(
        default=OPSETS.start, metadata=_flag(f"ONNX opset, {OPSETS.start} to {OPSETS.stop - 1}", SHAPE, parse=int)
    )
    output: str | os.PathLike[str] | None = field(
        default=None, metadata=_flag("the bundle's folder (default: build/<name>)", OUTPUT, metavar="DIR")
    )
    overwrite: bool = field(default=False, metadata=_flag("replace an existing bundle", OUTPUT))
    threads: int | None = field(
        default=None,
        metadata=_flag(
            "for proving and for the latency measurement (default: the processors it may use, at most 4)",
            OUTPUT,
            parse=int,
        ),
    )
    cache: bool = field(
        default=True,
        metadata=_flag("repeat every stage, and keep no results for the next run", OUTPUT, name="--no-cache"),
    )

    progress: Progress = field(
        default=in_notebooks,
        metadata=_flag("told when a stage begins and ends (default: notebooks show the stages)", None),
    )

    def __post_init__(self) -> None:
        for precision in self._quantize:
            _require_known("quantize", precision, QUANTIZE)
        _require(bool(self._quantize), "quantize", "at least one of " + ", ".join(QUANTIZE), self.quantize)
        _require(
            self._quantize == ("none",) or "none" not in self._quantize, "quantize",
            "none alone, or precisions", ", ".join(self._quantize),
        )  # fmt: skip
        if self.method is not None:
            _require_known("method", self.method, tuple(METHODS))
        observes = "int8" in self.precisions and self.calibration is None
        _require(self.method is None or observes, "method", "no method where no ranges are observed", self.method)
        _require(bool(self.formats) and set(self.formats) <= set(FORMATS), "formats", ", ".join(FORMATS), self.formats)
        _require_known("optimize_for", self.optimize_for, tuple(OPTIMIZE_FOR))
        _require(
            not ("fp16" in self.precisions and self.optimize_for == "memory"), "optimize_for",
            "latency with quantize fp16, whose models are for GPUs and keep attention whole", self.optimize_for,
        )  # fmt: skip
        _require(self.opset in OPSETS, "opset", f"{OPSETS.start} to {OPSETS.stop - 1}", self.opset)
        _require(_is_count(self.seed, least=0), "seed", "an integer of at least 0", self.seed)
        if self.input_shape is not None:
            sizes_are_counts = isinstance(self.input_shape, tuple) and all(
                _is_count(size, least=1) for size in self.input_shape
            )
            _require(sizes_are_counts, "input_shape", "a tuple of sizes of at least 1", self.input_shape)
        _require(
            self.sequence_length is None or (self.input_shape is None and _is_count(self.sequence_length, least=1)),
            "sequence_length", "an integer of at least 1, and no input_shape beside it", self.sequence_length,
        )  # fmt: skip
        if self.positions is not None:
            are_numbers = isinstance(self.positions, tuple) and all(_is_count(n, least=0) for n in self.positions)
            _require(are_numbers and bool(self.positions), "positions", "a tuple of integers from 0", self.positions)
        for name in ("image_mean", "image_std"):
            values = getattr(self, name)
            is_numbers = isinstance(values, tuple) and bool(values) and all(type(v) in (int, float) for v in values)
            _require(values is None or is_numbers, name, "a tuple of numbers", values)
        if self.task is not None:
            _require_known("task", self.task, TASKS)
        if self.resize is not None:
            _require_known("resize", self.resize, tuple(RESIZE))
        counts = {"batch": self.batch, "num_samples": self.num_samples, "num_held_out": self.num_held_out}
        for name, value in (counts | {"threads": self.threads}).items():
            is_fit = value is None or (_is_count(value, least=1) and value <= _MOST[name])
            _require(is_fit, name, f"an integer from 1 to {_MOST[name]:,}", value)
        _require(self.num_held_out != 1, "num_held_out", f"at least {LEAST_HELD_OUT}", self.num_held_out)
        _require(not (self.only and not self.precisions), "only", "a quantize other than none", "none")
        _require(
            self.calibration is None or "int8" in self.precisions, "calibration",
            "no calibration, or quantize int8", self.quantize,
        )  # fmt: skip

    @property
    def _quantize(self) -> tuple[str, ...]:
        return (self.quantize,) if isinstance(self.quantize, str) else tuple(dict.fromkeys(self.quantize))

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of the models beside the float32 ones; none of them where only those are made."""
        return tuple(precision for precision in self._quantize if precision != "none")

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Sizes of the input axes, where they are said."""
        return self.input_shape if self.sequence_length is None else (self.sequence_length,)

    @property
    def num_threads(self) -> int:
        return self.threads or default_threads()


def _is_count(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _require(condition: bool, option: str, expected: str, got: Any) -> None:
    if not condition:
        raise BadInputError(f"{spelled(option)} is not usable.", expected=expected, got=repr(got))


def _require_known(option: str, value: object, known: tuple[str, ...]) -> None:
    _require(value in known, option, ", ".join(known), f"{value!r}{did_you_mean(value, known)}")
