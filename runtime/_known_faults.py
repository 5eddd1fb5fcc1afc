"""Operators that a TFLite engine is known to run wrongly without a word: a model that has one is refused."""

from typing import Any

import numpy as np

from perceiver_edge.errors import BadInputError


def refuse_known_faults(interpreter: Any, *, engine: str, where: str) -> None:
    """Look at the operators of a model whose tensors are allocated.

    - tflite-runtime 2.14, the last one, takes FULLY_CONNECTED with float activations and weights per channel in files
      that do not ask for its version 12, and answers noise.
    - LiteRT 2.3 answers zeros for a BATCH_MATMUL of float32 with int8 that is computed at run time.

    Raises:
        BadInputError: one of these is there.
    """
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()  # the engines have no public way
    varying = {int(index) for operator in operators for index in operator["outputs"]}
    varying |= {int(detail["index"]) for detail in interpreter.get_input_details()}
    for operator in operators:
        sides = [int(index) for index in operator["inputs"][:2]]
        if len(sides) < 2 or not set(sides) <= tensors.keys():
            continue
        left, right = (tensors[index] for index in sides)
        is_mixed = (left["dtype"], right["dtype"]) == (np.float32, np.int8)
        per_channel = len(right["quantization_parameters"]["scales"]) > 1
        kind = operator["op_name"]
        if engine == "tflite_runtime" and kind == "FULLY_CONNECTED" and is_mixed and per_channel:
            problem, fix = "dynamic weights per channel, which tflite-runtime answers with noise", "use ai-edge-litert"
        elif engine == "litert" and kind == "BATCH_MATMUL" and is_mixed and sides[1] in varying:
            problem, fix = (
                "a float product with int8 computed at run time, which LiteRT answers with zeros",
                "dequantise",
            )
        else:
            continue
        raise BadInputError(
            "The engine is known to run this model wrongly.", expected="operators that it runs rightly",
            got=f"{kind} {right['name']}: {problem}", where=where, fix=fix,
        )  # fmt: skip
