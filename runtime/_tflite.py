"""What the two TFLite engines have in common: their Interpreter class has the same methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime._known_faults import refuse_known_faults
from perceiver_edge.runtime._quiet import without_notices
from perceiver_edge.runtime.execution import Execution
from perceiver_edge.runtime.runner import Runner, TensorSpec


class TfliteRunner(Runner):
    """A model in a TFLite interpreter; names come from the model's signature where it has one."""

    def __init__(self, create: Callable[[], Any], execution: Execution, where: str) -> None:
        """
        Args:
            create: makes the interpreter.
            execution: how it runs; ``create`` already knows of the threads.
            where: the file's name, for messages.

        Raises:
            BadInputError: the engine refuses the model, or is known to run it wrongly.
        """
        self._home = execution.home()
        self._interpreter = interpreter = self._home.build(lambda: make_interpreter(create, where))
        refuse_known_faults(interpreter, engine=self.engine, where=where)
        self._one_call = threading.Lock()  # an interpreter owns one set of tensors
        inputs, outputs = _named_tensors(interpreter)
        self._input_index = {name: detail["index"] for name, detail in inputs.items()}
        self._output_index = {name: detail["index"] for name, detail in outputs.items()}
        super().__init__(specs(inputs), specs(outputs), execution)

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._home.run(lambda: self._infer(feeds))

    def _infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._one_call:
            for name, array in feeds.items():
                self._interpreter.set_tensor(self._input_index[name], array)
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in self._output_index.items()}


def make_interpreter(create: Callable[[], Any], where: str) -> Any:
    """Create an interpreter and allocate its tensors, without the engine's notices.

    Raises:
        BadInputError: the engine refuses the model.
    """
    with without_notices(), refusals_are_bad_input(where):
        interpreter = create()
        interpreter.allocate_tensors()
    return interpreter


@contextmanager
def refusals_are_bad_input(where: str) -> Iterator[None]:
    """Turn what an engine raises over a model into a BadInputError."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        is_newer = "Didn't find op" in str(error)  # TFLite's words for an operator's version, and for an operator
        raise BadInputError(
            "The TFLite model cannot be loaded.", got=error, where=where,
            expected="operators that this version of the engine has" if is_newer else "an undamaged .tflite model",
            fix="take a newer version of the engine, or an artefact of another precision" if is_newer else None,
        ) from error  # fmt: skip


def require_one_signature(names: Iterable[str]) -> list[str]:
    """The one name, or none.

    Raises:
        BadInputError: there are several.
    """
    if len(signatures := list(names)) > 1:
        raise BadInputError("The model has several entry points.", expected="one signature", got=", ".join(signatures))
    return signatures


def _named_tensors(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    signatures = require_one_signature(interpreter.get_signature_list())
    if not signatures:
        return (
            {detail["name"]: detail for detail in interpreter.get_input_details()},
            {detail["name"]: detail for detail in interpreter.get_output_details()},
        )
    signature = interpreter.get_signature_runner(signatures[0])
    return signature.get_input_details(), signature.get_output_details()


def specs(details: dict[str, Any]) -> dict[str, TensorSpec]:
    """Of the engine's details of tensors, by name."""
    return {
        name: TensorSpec(tuple(int(size) for size in detail["shape"]), np.dtype(detail["dtype"]))
        for name, detail in details.items()
    }
