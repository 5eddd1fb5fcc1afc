"""From what a user names (a preset, a folder, a Keras model) to weights and an input shape."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perceiver_edge.bundle.hub import SCHEME, fetch_model
from perceiver_edge.bundle.names import is_taken_everywhere
from perceiver_edge.checkpoints import Checkpoint, fit_weights, init_weights, load_checkpoint
from perceiver_edge.checkpoints.tensor_files import is_keras_file
from perceiver_edge.compiler.live import read_live, read_saved_model
from perceiver_edge.compiler.plain_reference import plain_reference
from perceiver_edge.compiler.transformers_models import require_no_choice
from perceiver_edge.config import PRESETS, InputSpec, PerceiverConfig, require_fit
from perceiver_edge.data import DIGITS_CHECKPOINT
from perceiver_edge.errors import BadInputError, option
from perceiver_edge.proof.reference import Reference, keras_reference

if TYPE_CHECKING:
    from perceiver_edge.model import Perceiver

DIGITS = "digits"
_EVERY_MODELS = {"model", "pytorch_model"}


@dataclass(frozen=True, kw_only=True, eq=False)
class NamedModel:
    """A Perceiver ready to compile: its name, its weights, and the one input shape it will be deployed for."""

    name: str
    checkpoint: Checkpoint
    input_spec: InputSpec
    is_random_weights: bool
    is_digits: bool
    """Whether this is the model that ships with data."""
    is_own: bool = False
    """Whether it was made with this package, so that it has no other source to be compared with."""
    reference: Reference | None = None
    """The user's own object, which answers for itself; None where the weights are all there is."""
    notices: tuple[str, ...] = ()
    """What to know of how it was found."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``[*axes, channels]``, without the batch."""
        return self.checkpoint.config.sample_shape(self.input_spec.shape)

    @property
    def beside(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the other inputs, by name, without the batch."""
        return self.checkpoint.config.beside(self.input_spec.shape)

    @property
    def proven_against(self) -> Reference:
        """What artefacts are held to: the user's object where it computes in float32, else its weights."""
        if self.reference is not None and self.reference.is_exact:
            return self.reference
        return self.weights_reference

    @property
    def weights_reference(self) -> Reference:
        """What the weights compute here, in float32. Made anew each time, so that it is in memory while it is used."""
        if isinstance(self.checkpoint.config, PerceiverConfig):
            return keras_reference(self.checkpoint)
        return plain_reference(self.checkpoint, self.input_spec.shape)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of all that decides what is computed: configuration, input shape and weights."""
        options = self.checkpoint.config.to_dict().items()
        config = {name: float(value) if isinstance(value, int) else value for name, value in options}  # 10 is 10.0
        identity = [config, self.input_spec.shape, self.checkpoint.fingerprint]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def resolve_model(
    model: str | os.PathLike[str] | Checkpoint | Perceiver,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    image_mean: tuple[float, ...] | None = None,
    image_std: tuple[float, ...] | None = None,
    resize: str | None = None,
    outputs: str | None = None,
    positions: tuple[int, ...] | None = None,
    seed: int = 0,
) -> NamedModel:
    """Find the model.

    Args:
        model: ``"digits"`` (trained), a preset of `PRESETS` (random weights from ``seed``), a folder with
            ``config.json`` and weights, a file of weights, a `Checkpoint`, or a Keras model with a `Perceiver` in it.
            A folder with the name of a preset is written ``./name``.
        config: of a ``config.json``'s keys those that the model's files do not tell.
        name: what the bundle and its files are called; by default the preset's, the folder's or the file's name.
        input_shape: sizes of the input axes. ``image_mean``, ``image_std``, ``resize``: see `InputSpec`. Each overrides
            the model's own.
        outputs, positions: see `HuggingFaceConfig`; what is computed of a model that answers more.

    Raises:
        BadInputError: no such model, a preset's name that is also a folder's, unusable weights, or no input shape.
    """
    config = config or {}
    _require_files(model, config)
    notices: tuple[str, ...] = ()
    if isinstance(model, str) and model.startswith(SCHEME):
        name = name or model.rpartition("/")[2]
        model, notices = fetch_model(model.removeprefix(SCHEME))
    chosen = {key: value for key, value in {"outputs": outputs, "positions": positions}.items() if value is not None}
    default_name, checkpoint, is_random, reference = _load(model, config, chosen, input_shape, seed)
    name = name or default_name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or not is_taken_everywhere(name):
        raise BadInputError(
            "The name cannot be used for files on every system.",
            expected="letters, digits, '_', '-' and '.', no '.' at the end, and no name of a device such as NUL",
            got=repr(name), fix=f"pass {option('name')}",
        )  # fmt: skip
    given = {"shape": input_shape, "image_mean": image_mean, "image_std": image_std, "resize": resize}
    said = {key: value for key, value in given.items() if value is not None}
    spec = replace(checkpoint.input_spec or InputSpec(), **said)  # type: ignore[arg-type]
    require_fit(spec, checkpoint.config, where=name)
    axes = checkpoint.config.input_axis
    if len(spec.shape) != axes:
        raise BadInputError(
            "A deployed model has one fixed input shape.",
            expected=f"the {'size' if axes == 1 else 'sizes'} of {axes} input axes",
            got=spec.shape or "none", where=name,
            fix=f"pass {option('input_shape', (224, 224)[:axes] or None)}, or put input_shape into config.json",
        )  # fmt: skip
    checkpoint.config.require_input_shape(spec.shape, where=name)
    return NamedModel(
        name=name, checkpoint=checkpoint, input_spec=spec, is_random_weights=is_random,
        is_digits=isinstance(model, str) and model == DIGITS, reference=reference,
        is_own=is_random or checkpoint.is_own, notices=notices,
    )  # fmt: skip


def _require_files(model: object, config: Mapping[str, Any]) -> None:
    if config and (isinstance(model, Checkpoint) or model in (DIGITS, *PRESETS)):
        raise BadInputError(
            f"{option('config')} completes what a model's files do not tell.", expected="a folder or a file of weights",
            got=repr(model) if isinstance(model, str) else type(model).__name__,
        )  # fmt: skip


def _load(
    model: str | os.PathLike[str] | Checkpoint | Perceiver,
    config: Mapping[str, Any],
    chosen: Mapping[str, Any],
    input_shape: tuple[int, ...] | None,
    seed: int,
) -> tuple[str, Checkpoint, bool, Reference | None]:
    """(default name, weights, whether they are random, the user's object)."""
    if isinstance(model, Checkpoint) or (isinstance(model, str) and model in (DIGITS, *PRESETS)):
        require_no_choice(chosen)
    if isinstance(model, Checkpoint):
        if isinstance(model.config, PerceiverConfig):
            model = replace(model, weights=fit_weights(model.config, model.weights))
        return "perceiver", model, False, None
    if not isinstance(model, str | os.PathLike):
        checkpoint, reference = read_live(model, chosen, config)
        return "perceiver", checkpoint, False, reference
    if model in (DIGITS, *PRESETS) and Path(model, "config.json").exists():
        raise BadInputError(
            f"{model!r} names both a model that ships with the package and a folder here.", expected="one of the two",
            got=f"a folder with config.json in {Path.cwd()}",
            fix=f"write ./{model} for the folder; for the other, run elsewhere or rename the folder",
        )  # fmt: skip
    if model == DIGITS:
        return DIGITS, load_checkpoint(DIGITS_CHECKPOINT), False, None
    if model in PRESETS:
        preset, spec = PRESETS[str(model)]
        return str(model), Checkpoint(config=preset, input_spec=spec, weights=init_weights(preset, seed)), True, None
    path = Path(model)
    if not path.exists():
        raise _no_such_model(os.fspath(model))
    checkpoint, read_reference = _read(path, {**config, **chosen}, input_shape)
    return _name_of(path.resolve()), checkpoint, False, read_reference


def _read(
    path: Path, config: Mapping[str, Any], input_shape: tuple[int, ...] | None
) -> tuple[Checkpoint, Reference | None]:
    """(the model, the user's object)."""
    reference = None
    if is_keras_file(path):
        from perceiver_edge.model.saved import load_saved

        checkpoint, reference = read_live(load_saved(path), {}, {})
    elif (path / "saved_model.pb").is_file():
        checkpoint, reference = read_saved_model(path, config, input_shape)
    else:
        checkpoint = load_checkpoint(path, config=config, input_shape=input_shape)
    return checkpoint, reference


def _name_of(path: Path) -> str:
    """The folder's or the file's; of a file with the name that every model's file has, its folder's."""
    is_folder = path.is_dir() or path.stem in _EVERY_MODELS
    return (path if path.is_dir() else path.parent).name if is_folder else path.stem


def _no_such_model(text: str) -> BadInputError:
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not text.startswith("."):
        return BadInputError(
            "There is no such folder or file; if this is a name on the Hugging Face Hub, fetch the model first.",
            expected=f"a folder with config.json and weights, or one of {DIGITS}, {', '.join(PRESETS)}", got=repr(text),
            fix=f"where there is network: pip install huggingface_hub, then {option('model', SCHEME + text)}, or\n"
            f"hf download {text} --local-dir {text.split('/')[1]}\n"
            f"then, also without network: {option('model', text.split('/')[1])}",
        )  # fmt: skip
    return BadInputError(
        "There is no such model.",
        expected=f"{DIGITS}, {', '.join(PRESETS)}, a folder with config.json and weights, or a file of weights",
        got=repr(text),
    )
