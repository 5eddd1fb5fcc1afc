"""The child's end of `child`: load the model that comes first, then answer until the parent hangs up."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime.frames import Arrays, receive, send
from perceiver_edge.runtime.runner import TensorSpec

Answer = Callable[[dict[str, np.ndarray]], tuple[Mapping[str, Any], Arrays]]
"""Feeds → what is said of the call, and the outputs."""


def serve(load: Callable[..., tuple[Mapping[str, Any], Answer | None]]) -> None:
    """
    Args:
        load: called with the model's bytes, and with what the first request says as keywords. Returns what is said of
            the model, and what answers all further requests; None where the model is not run.

    What either raises is answered as ``error``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal it comes to both; the parent decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an engine prints is no answer
    try:
        how, arrays = receive(sys.stdin.buffer)
        try:
            said, answer = load(arrays["model"].tobytes(), **how)
        except Exception as error:  # engines' have no base class
            said, answer = _failed(error), None
        del arrays  # the engine has a copy of its own
        send(answers, said, {})
        while answer is not None:
            _, feeds = receive(sys.stdin.buffer)
            try:
                reply = answer(feeds)
            except Exception as error:
                reply = _failed(error), {}
            send(answers, *reply)
    except (EOFError, BrokenPipeError):  # the parent is done
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())  # for what is still to be written there


def _failed(error: Exception) -> dict[str, str]:
    return {"error": str(error) if isinstance(error, PerceiverEdgeError) else f"{type(error).__name__}: {error}"}


def described(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[tuple[int, ...], str]]:
    """For the header of an answer."""
    return {name: (spec.shape, spec.dtype.str) for name, spec in specs.items()}


def specs(values: Mapping[str, tuple[list[int], str]]) -> dict[str, TensorSpec]:
    """Inverse of `described`."""
    return {name: TensorSpec(tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in values.items()}
