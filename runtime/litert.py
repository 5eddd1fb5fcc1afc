"""LiteRT (ai-edge-litert), with XNNPACK as its default delegate."""

from perceiver_edge.errors import MissingExtraError
from perceiver_edge.runtime._tflite import TfliteRunner, make_interpreter


class LiteRtRunner(TfliteRunner):
    """Runs TFLite models in LiteRT."""

    engine = "litert"

    def __init__(self, content: bytes, *, threads: int | None, where: str) -> None:
        """
        Args:
            content: the model; bytes, because LiteRT verifies bytes and maps a file unverified.
            threads: None for LiteRT's default of one.
            where: the file's name, for messages.

        Raises:
            BadInputError: LiteRT refuses the model.
            MissingExtraError: ai-edge-litert is not installed.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise MissingExtraError("ai_edge_litert", "litert") from None
        super().__init__(
            make_interpreter(lambda: Interpreter(model_content=content, num_threads=threads), where),
        )
