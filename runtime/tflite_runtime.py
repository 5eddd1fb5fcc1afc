"""tflite-runtime 2.14, the last release; it needs numpy < 2.

Unlike LiteRT it does not verify a model before it reads it: a file cut short can end the process with a segmentation
fault. Compare the file's SHA-256 with the bundle's manifest where that can happen.
"""

from __future__ import annotations

from perceiver_edge.errors import importing
from perceiver_edge.runtime._tflite import TfliteRunner
from perceiver_edge.runtime.execution import Execution


class TfliteRuntimeRunner(TfliteRunner):
    """Runs TFLite models in tflite-runtime."""

    engine = "tflite_runtime"

    def __init__(self, content: bytes, *, execution: Execution, where: str) -> None:
        """
        Args:
            content: the model.
            execution: how it runs; TFLite's workers always sleep between calls.
            where: the file's name, for messages.

        Raises:
            BadInputError: the engine refuses the model.
            MissingExtraError: tflite-runtime is not installed.
        """
        with importing("tflite_runtime", "tflite-runtime"):
            from tflite_runtime.interpreter import Interpreter
        super().__init__(
            lambda: Interpreter(model_content=content, num_threads=execution.threads), execution, where
        )  # fmt: skip
