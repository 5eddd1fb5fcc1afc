"""LiteRT (ai-edge-litert), with XNNPACK as its default delegate."""

from __future__ import annotations

from perceiver_edge.errors import importing
from perceiver_edge.runtime._tflite import TfliteRunner
from perceiver_edge.runtime.execution import Execution


class LiteRtRunner(TfliteRunner):
    """Runs TFLite models in LiteRT."""

    engine = "litert"

    def __init__(self, content: bytes, *, execution: Execution, where: str) -> None:
        """
        Args:
            content: the model; bytes, because LiteRT verifies bytes and maps a file unverified.
            execution: how it runs; TFLite's workers always sleep between calls.
            where: the file's name, for messages.

        Raises:
            BadInputError: LiteRT refuses the model.
            MissingExtraError: ai-edge-litert is not installed.
        """
        with importing("ai_edge_litert", "litert"):
            from ai_edge_litert.interpreter import Interpreter
        super().__init__(
            lambda: Interpreter(model_content=content, num_threads=execution.threads), execution, where
        )  # fmt: skip
