"""`load`: from a file or its bytes to a `Runner` of the engine that fits."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from perceiver_edge.errors import BadInputError, MissingExtraError
from perceiver_edge.runtime.runner import Runner

Engine = Literal["litert", "tflite_runtime", "onnxruntime"]

TFLITE_ENGINES: tuple[Engine, ...] = ("litert", "tflite_runtime")
ONNX_ENGINES: tuple[Engine, ...] = ("onnxruntime",)

# engine: (module to import, extra that brings it)
_LIBRARY_OF: dict[Engine, tuple[str, str]] = {
    "litert": ("ai_edge_litert", "litert"),
    "tflite_runtime": ("tflite_runtime", "tflite-runtime"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
}


def load(model: str | os.PathLike[str] | bytes, *, engine: Engine | None = None, threads: int | None = None) -> Runner:
    """Load a TFLite or ONNX model.

    Args:
        model: a file, or the bytes of one.
        engine: which engine runs it. None takes the one for the content: for TFLite the first installed of
            ai-edge-litert and tflite-runtime, for ONNX onnxruntime.
        threads: threads used inside one call, at least 1. None keeps the engine's default: one thread for LiteRT and
            tflite-runtime, one per physical core for ONNX Runtime.

    Raises:
        BadInputError: no such file, not a model, a damaged one, or one that the engine cannot run.
        MissingExtraError: the engine is not installed.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise BadInputError("threads is out of range.", expected="an integer of at least 1, or None", got=repr(threads))
    content, where = _read(model)
    able = TFLITE_ENGINES if is_tflite(content) else ONNX_ENGINES
    chosen = _choose(engine, able, where)
    if chosen == "litert":
        from perceiver_edge.runtime.litert import LiteRtRunner

        return LiteRtRunner(content, threads=threads, where=where)
    if chosen == "tflite_runtime":
        from perceiver_edge.runtime.tflite_runtime import TfliteRuntimeRunner

        return TfliteRuntimeRunner(content, threads=threads, where=where)
    from perceiver_edge.runtime.onnxruntime import OnnxRuntimeRunner

    return OnnxRuntimeRunner(content, threads=threads, where=where)


def is_tflite(content: bytes) -> bool:
    """Whether the bytes carry the FlatBuffer file identifier of a TFLite model."""
    return content[4:8] == b"TFL3"


def installed_engines(able: tuple[Engine, ...]) -> tuple[Engine, ...]:
    """Those of the engines that are on this machine, found without importing them."""
    return tuple(engine for engine in able if find_spec(_LIBRARY_OF[engine][0]) is not None)


def _read(model: str | os.PathLike[str] | bytes) -> tuple[bytes, str]:
    if isinstance(model, bytes):
        content, where = model, "bytes"
    else:
        where = os.fspath(model)
        try:
            content = Path(where).read_bytes()
        except OSError as error:
            raise BadInputError(
                "The model file cannot be read.", expected="a .tflite or .onnx file", got=error.strerror, where=where
            ) from error
    if not content:
        raise BadInputError("The model is empty.", expected="a TFLite or ONNX model", got="0 bytes", where=where)
    return content, where


def _choose(engine: Engine | None, able: tuple[Engine, ...], where: str) -> Engine:
    if engine is not None and engine not in _LIBRARY_OF:
        raise BadInputError("No such engine.", expected=", ".join(_LIBRARY_OF), got=repr(engine))
    if engine is not None and engine not in able:
        raise BadInputError(
            "The engine does not run models of this format.", expected=" or ".join(able), got=engine, where=where
        )
    wanted = (engine,) if engine else able
    if installed := installed_engines(wanted):
        return installed[0]
    raise MissingExtraError(*_LIBRARY_OF[engine or able[0]])
