"""What engines are known to run wrongly is refused; the fault itself is looked at, to see when it is mended."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from contracts.operators import total

from perceiver_edge.converters.census.take import census
from perceiver_edge.converters.core_params import Affine
from perceiver_edge.devices import x86
from perceiver_edge.errors import BadInputError, NotRunError
from perceiver_edge.runtime import load
from perceiver_edge.runtime._known_faults import refuse_known_faults

LEFT = np.ones((1, 4, 8), np.float32)
RIGHT = np.full((1, 8, 4), 100, np.int8)


def test_a_float_product_with_computed_int8_is_refused(tflite_operator):
    model = tflite_operator(
        "BATCH_MATMUL", [(LEFT, None), (RIGHT, Affine(0.01, 0))], ((1, 4, 4), np.float32, None),
        version=4, options=schema.BatchMatMulOptionsT(),
    )  # fmt: skip
    with pytest.raises(BadInputError, match=r"(?s)known to run this model wrongly.*BATCH_MATMUL"):
        load(model)
    with pytest.raises(BadInputError, match=r"(?s)known to run this model wrongly.*BATCH_MATMUL"):
        census(model)


class _Interpreter:
    """What tflite-runtime says of a product: its weights have as many scales as there are."""

    def __init__(self, scales, activation=np.float32):
        self._scales, self._activation = scales, activation

    def get_tensor_details(self):
        return [
            {"index": 0, "name": "x", "dtype": self._activation, "quantization_parameters": {"scales": np.ones(1)}},
            {"index": 1, "name": "w", "dtype": np.int8, "quantization_parameters": {"scales": np.ones(self._scales)}},
        ]

    def get_input_details(self):
        return self.get_tensor_details()[:1]

    def _get_ops_details(self):
        return [{"op_name": "FULLY_CONNECTED", "inputs": [0, 1, -1], "outputs": [2]}]


def test_dynamic_weights_per_channel_are_refused_in_tflite_runtime_alone():
    with pytest.raises(BadInputError, match=r"(?s)FULLY_CONNECTED w.*tflite-runtime"):
        refuse_known_faults(_Interpreter(8), engine="tflite_runtime", where="bytes")
    refuse_known_faults(_Interpreter(8), engine="litert", where="bytes")


@pytest.mark.parametrize(("scales", "activation"), [(1, np.float32), (8, np.int8)], ids=["per tensor", "static"])
def test_what_tflite_runtime_runs_rightly_is_not_refused(scales, activation):
    refuse_known_faults(_Interpreter(scales, activation), engine="tflite_runtime", where="bytes")


@pytest.mark.devices
@pytest.mark.parametrize(("cpu", "tokens"), [("nehalem", 8000), ("haswell", 16384)])
def test_sums_of_more_tokens_than_a_chunk_has_overflow(cpu, tokens):
    """Why chunks have `MOST_TOKENS`: should it ever be mended in LiteRT, this says so."""
    (emulated,) = (known for known in x86.CPUS if known.name == cpu)
    form = total(tokens)
    try:
        got = x86.outputs(form.model, form.feeds, cpu=emulated, runtime="contract")
    except NotRunError as error:
        pytest.skip(str(error))
    assert np.abs(got - form.exact).max() > 100
