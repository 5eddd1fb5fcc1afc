"""`load`: from a file or its bytes to a `Runner` of the engine that fits."""

from __future__ import annotations

import os
from pathlib import Path

from perceiver_edge.errors import BadInputError, MissingExtraError
from perceiver_edge.files.reading import MOST_MODEL_BYTES, read_file
from perceiver_edge.runtime.beside import class_names_in, input_range_in, manifest_beside, preprocessing_in
from perceiver_edge.runtime.engines import ENGINES, Engine, engines_for, installed_engines
from perceiver_edge.runtime.execution import Execution, Idle, Placement, resolve_execution
from perceiver_edge.runtime.external_data import require_weights_inside
from perceiver_edge.runtime.formats import format_of, is_tflite
from perceiver_edge.runtime.guard import InputGuard, engine_errors
from perceiver_edge.runtime.runner import Runner
from perceiver_edge.runtime.structure import require_structure


def load(
    model: str | os.PathLike[str] | bytes, *, engine: Engine | None = None, threads: int | None = None,
    placement: Placement = "apart", idle: Idle = "sleep", weight_cache: str | os.PathLike[str] | None = None,
    check_inputs: bool = True, isolated: bool = False,
) -> Runner:  # fmt: skip
    """Load a TFLite or ONNX model.

    Args:
        model: a file, or the bytes of one.
        engine: which engine runs it. None takes the one for the content: for TFLite the first installed of
            ai-edge-litert and tflite-runtime, for ONNX onnxruntime.
        threads: threads used inside one call, at least 1. None for `default_threads`: what this process may really use.
        placement: ``"apart"`` runs inference in a thread of the runner's own, whose processor the engine's workers
            keep off: after a pause between calls the system would put them there. It is done where there are two
            threads or more, and a processor for each; the runner's ``execution`` says whether. ``"system"`` runs
            inference in the caller's thread and places nothing.
        idle: ``"sleep"``, or ``"spin"`` to have ONNX Runtime's workers wait for the next call by spinning: a little
            faster where calls follow each other at once, and tens of milliseconds of processor time after each.
        weight_cache: a folder, made if need be, for LiteRT's packed weights: the first load of a model packs them into
            a file there, later ones map that file, which takes less memory. The model has to be a TFLite file, which
            is mapped too: while it is loaded it may be replaced, but not written to.
        check_inputs: refuse NaN and infinity, to which an int8 model gives a confident answer, and warn once of inputs
            far outside of what the model was proven with. It takes microseconds (see `guard.InputGuard`).
        isolated: run the engine in a process of its own. For files of strangers: some that pass every check make an
            engine end its process. A call then costs what it takes to pass the arrays to and fro.

    Raises:
        BadInputError: no such file, not a model, a damaged one, or one that the engine cannot run; or a weight cache
            that cannot be written, or that the engine does not have.
        MissingExtraError: the engine is not installed.
    """
    execution = resolve_execution(threads=threads, placement=placement, idle=idle)
    with engine_errors("The model cannot be loaded.", "bytes" if isinstance(model, bytes) else model):
        if isolated:
            _require(weight_cache is None, "isolated", "no weight_cache", weight_cache)
            runner = _load_isolated(model, engine=engine, threads=threads, placement=placement, idle=idle)
        elif weight_cache is not None:
            runner = _load_cached(model, Path(weight_cache), engine=engine, execution=execution)
        else:
            content, where = _read(model)
            runner = load_content(content, where=where, engine=engine, execution=execution)
    manifest = {} if isinstance(model, bytes) else manifest_beside(Path(model))
    runner.class_names, runner.preprocessing = class_names_in(manifest), preprocessing_in(manifest)
    runner.answers_values = manifest.get("task") == "regression"
    runner.guard = InputGuard(input_range_in(manifest)) if check_inputs else None
    return runner


def load_content(content: bytes, *, where: str, engine: Engine | None, execution: Execution) -> Runner:
    """A model of these bytes in this process; ``where`` is the file's name, for messages. Raises as `load`."""
    format_ = format_of(content, where)
    if format_ == "onnx":
        require_weights_inside(content, where)
    else:
        require_structure(content, where)
    chosen = _choose(engine, engines_for(format_), where)
    _require_idle(execution, chosen)
    return ENGINES[chosen].runner_class()(content, execution=execution, where=where)


def _load_isolated(
    model: str | os.PathLike[str] | bytes, *, engine: Engine | None, threads: int | None, placement: Placement,
    idle: Idle,
) -> Runner:  # fmt: skip
    from perceiver_edge.runtime.isolated import IsolatedRunner

    content, where = _read(model)
    chosen = _choose(engine, engines_for(format_of(content, where)), where)
    return IsolatedRunner(content, where=where, engine=chosen, threads=threads, placement=placement, idle=idle)


def _require(condition: bool, option: str, expected: str, got: object) -> None:
    if not condition:
        raise BadInputError(f"The option {option!r} is not usable.", expected=expected, got=repr(got))


def _load_cached(
    model: str | os.PathLike[str] | bytes, folder: Path, *, engine: Engine | None, execution: Execution
) -> Runner:
    if isinstance(model, bytes):
        raise BadInputError("A weight cache is for files.", expected="the path of a .tflite model", got="bytes")
    if engine not in (None, "litert"):
        raise BadInputError("The engine has no weight cache.", expected="litert", got=engine)
    head, where = _read(model, start=8)
    if not is_tflite(head):
        raise BadInputError("A weight cache is LiteRT's.", expected="a .tflite model", got="another file", where=where)
    _require_idle(execution, "litert")
    from perceiver_edge.runtime.litert_cached import LiteRtCachedRunner

    return LiteRtCachedRunner(Path(where), folder, execution=execution)


def _require_idle(execution: Execution, engine: Engine) -> None:
    if execution.idle == "spin" and engine != "onnxruntime":
        raise BadInputError(
            "The engine's workers cannot be made to spin between calls.", expected="idle='sleep'", got="idle='spin'",
            where=engine,
        )  # fmt: skip


def _read(model: str | os.PathLike[str] | bytes, *, start: int | None = None) -> tuple[bytes, str]:
    if isinstance(model, bytes):
        content, where = model, "bytes"
    else:
        where = os.fspath(model)
        content = read_file(where, most_bytes=MOST_MODEL_BYTES, what="The model file", start=start)
    if not content:
        raise BadInputError("The model is empty.", expected="a TFLite or ONNX model", got="0 bytes", where=where)
    return content, where


def _choose(engine: Engine | None, able: tuple[Engine, ...], where: str) -> Engine:
    if engine is not None and engine not in ENGINES:
        raise BadInputError("No such engine.", expected=", ".join(ENGINES), got=repr(engine))
    if engine is not None and engine not in able:
        raise BadInputError(
            "The engine does not run models of this format.", expected=" or ".join(able), got=engine, where=where
        )
    wanted = (engine,) if engine else able
    if installed := installed_engines(wanted):
        return installed[0]
    missing = ENGINES[wanted[0]]
    raise MissingExtraError(missing.distribution, missing.extra)
