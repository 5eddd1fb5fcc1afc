"""Does an ONNX model keep weights in other files? Read from its bytes: a device has no onnx library.

ONNX Runtime looks for such files in the working directory where it is given bytes, so whoever can put a file there
decides what is computed. A model of ours has everything inside.
"""

from __future__ import annotations

from perceiver_edge.errors import BadInputError
from perceiver_edge.runtime.protobuf import fields

_EXTERNAL_DATA = 13
_WAY_TO_TENSORS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
"""Message → field number → the message in it; of ``onnx.proto``."""

_DEEPEST = 64


def require_weights_inside(content: bytes, where: object) -> None:
    """Raises BadInputError if a tensor of an ONNX model is in another file, or may be: the message is damaged."""
    if b"location" in content and _has_external(memoryview(content), "model", 0, where):
        raise BadInputError(
            "The ONNX model keeps weights in other files.", expected="a model with all its weights inside",
            got="external data", where=where,
            fix="onnx.save(onnx.load(FILE), NEW, save_as_external_data=False) puts them inside",
        )  # fmt: skip


def _has_external(message: memoryview, kind: str, depth: int, where: object) -> bool:
    if depth > _DEEPEST:
        return True  # nobody's model nests so deeply
    for number, value in fields(message):
        if value is None:
            raise BadInputError(
                "The ONNX model is damaged.", expected="an undamaged model", got=f"no whole {kind} in it", where=where
            )
        if kind == "tensor" and number == _EXTERNAL_DATA:
            return True
        inner = _WAY_TO_TENSORS.get(kind, {}).get(number)
        if inner is not None and _has_external(value, inner, depth + 1, where):
            return True
    return False
