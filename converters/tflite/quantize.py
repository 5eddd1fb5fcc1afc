"""Float TFLite → int8, dynamic-range or fp16 TFLite, with ai-edge-quantizer.

Only FULLY_CONNECTED is quantised: over 99 % of the weights, and all that XNNPACK runs fast in int8. Softmax,
normalisation and the cross-attention core stay float here; `tflite.core` quantises the core where calibration allows.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Collection, Mapping

import numpy as np
from ai_edge_quantizer import qtyping, quantizer, recipe_manager

from perceiver_edge.converters.sites import Site, require_sites, scalable
from perceiver_edge.converters.tflite.edit import TfliteEditor
from perceiver_edge.converters.tflite.gpu import for_gpu
from perceiver_edge.converters.tflite.graph import tflite_sites
from perceiver_edge.converters.tflite.pack import MOST_BYTES
from perceiver_edge.converters.tflite.versions import with_needed_versions

_FULLY_CONNECTED = qtyping.TFLOperationName.FULLY_CONNECTED


def tflite_int8(model: bytes, ranges: Mapping[str, tuple[float, float]], float_sites: Collection[str] = ()) -> bytes:
    """Static int8: weights per channel and symmetric, activations per tensor and asymmetric.

    Args:
        ranges: (min, max) by quantisation point, ``<site>.input`` and ``<site>.output``, for every site.
        float_sites: sites without ranges, which stay in float.

    Raises:
        ConversionError: sites and ranges do not match.
    """
    all_sites = tflite_sites(model)
    sites = {name: site for name, site in all_sites.items() if name not in float_sites}
    require_sites(sites, {point.rsplit(".", 1)[0] for point in ranges}, "TFLite")
    statistics = {}
    for name, site in sites.items():
        for tensor, point in ((site.input, f"{name}.input"), (site.output, f"{name}.output")):
            low, high = scalable(*ranges[point])
            statistics[tensor] = {"min": np.array([[low]]), "max": np.array([[high]])}

    def configure(recipe: recipe_manager.RecipeManager) -> None:
        recipe.add_static_config(
            regex=".*", operation_name=_FULLY_CONNECTED, activation_num_bits=8, weight_num_bits=8
        )  # fmt: skip
        for name in float_sites:  # the last configuration that matches holds
            recipe.add_quantization_config(
                regex=re.escape(all_sites[name].output), operation_name=_FULLY_CONNECTED,
                algorithm_key=recipe_manager.AlgorithmName.NO_QUANTIZE,
            )  # fmt: skip

    return _quantize(_without_empty_rows(model, sites), configure, statistics)


_NEARLY_NOTHING = 2e-4
"""Of a bias: activations of up to ten times their usual size move the sum by under half a step of int8."""


def _without_empty_rows(model: bytes, sites: Mapping[str, Site]) -> bytes:
    """Rows of zeros with a bias get one weight that is nearly nothing.

    The quantiser gives a row of zeros the scale 1e-9, and then no 32 bits hold its bias: channels of ones became zeros.
    """
    editor = TfliteEditor(model)
    for site in sites.values():
        operator = editor.graph.operators[int(site.operator)]
        if len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        weight, bias = (editor.data(index) for index in operator.inputs[1:3])
        if weight is None or bias is None:
            continue
        rows, biases = weight.view(np.float32).reshape(editor.shape(operator.inputs[1])).copy(), bias.view(np.float32)
        empty = ~rows.any(axis=1) & (biases != 0)
        if empty.any():
            rows[empty, 0] = biases[empty] * _NEARLY_NOTHING
            editor.set_data(operator.inputs[1], rows)
    return editor.to_bytes()


def tflite_dynamic(model: bytes) -> bytes:
    """Dynamic range: int8 weights, activations quantised row by row at run time."""
    return _quantize(
        model, lambda recipe: recipe.add_dynamic_config(regex=".*", operation_name=_FULLY_CONNECTED, num_bits=8)
    )


def tflite_fp16(model: bytes) -> bytes:
    """Weights stored as float16, in the operators that GPUs run; engines without fp16 arithmetic compute in float32."""
    return _quantize(
        for_gpu(model),
        lambda recipe: recipe.add_weight_only_config(
            regex=".*",
            operation_name=_FULLY_CONNECTED,
            num_bits=16,
            algorithm_key=recipe_manager.AlgorithmName.FLOAT_CASTING,
        ),
    )


def _quantize(
    model: bytes,
    configure: Callable[[recipe_manager.RecipeManager], None],
    statistics: dict[str, dict[str, np.ndarray]] | None = None,
) -> bytes:
    recipe = recipe_manager.RecipeManager()
    configure(recipe)
    run = quantizer.Quantizer(bytearray(model), recipe.get_quantization_recipe())
    # The library prints progress bars and warns about its own debugging interpreter.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        result = run.quantize(statistics, enable_progress_bar=False, enable_progress_report=False)
    quantised = bytes(result.quantized_model)
    if len(quantised) > MOST_BYTES:
        return quantised
    editor = TfliteEditor(quantised)
    with_needed_versions(editor)
    return editor.to_bytes()
