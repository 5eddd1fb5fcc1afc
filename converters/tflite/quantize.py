"""Float TFLite → int8, dynamic-range or fp16 TFLite, with ai-edge-quantizer.

Only FULLY_CONNECTED is quantised: over 99 % of the weights, and all that XNNPACK runs fast in int8. Softmax,
normalisation and the cross-attention core stay float here; `tflite.core` quantises the core where calibration allows.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

import numpy as np
from ai_edge_quantizer import qtyping, quantizer, recipe_manager
from numpy.typing import NDArray

from perceiver_edge.converters.rounding import MOST, Inputs, inputs_of, rounded
from perceiver_edge.converters.sites import Site, least_weight, require_sites, scalable
from perceiver_edge.converters.tflite.edit import TfliteEditor
from perceiver_edge.converters.tflite.gpu import for_gpu
from perceiver_edge.converters.tflite.graph import tflite_sites
from perceiver_edge.converters.tflite.pack import MOST_BYTES
from perceiver_edge.converters.tflite.versions import with_needed_versions

_FULLY_CONNECTED = qtyping.TFLOperationName.FULLY_CONNECTED


def tflite_int8(
    model: bytes, ranges: Mapping[str, tuple[float, float]], float_sites: Collection[str] = (),
    inputs: Inputs = MappingProxyType({}),
) -> bytes:  # fmt: skip
    """Static int8: weights per channel and symmetric, activations per tensor and asymmetric.

    Args:
        ranges: (min, max) by quantisation point, ``<site>.input`` and ``<site>.output``, for every site.
        float_sites: sites without ranges, which stay in float.
        inputs: what products are fed, ``[rows, in]`` by site: their weights are rounded by it (`rounding`). Those of
            other sites are rounded each on its own.

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

    ready = _without_empty_rows(model, sites, ranges)
    return _quantize(ready, configure, statistics, whole=_whole_weights(ready, sites, inputs))


def _without_empty_rows(model: bytes, sites: Mapping[str, Site], ranges: Mapping[str, tuple[float, float]]) -> bytes:
    """Rows of weights that leave their bias no scale (`least_weight`) get one weight that does, and is nearly nothing.

    The quantiser takes the scale from the largest weight of a row.
    """
    editor = TfliteEditor(model)
    is_changed = False
    for name, site in sites.items():
        _, weight, *bias = (int(index) for index in editor.graph.operators[int(site.operator)].inputs)
        stored = [
            data.view(np.float32)
            for index in (weight, *bias)
            if index >= 0 and (data := editor.data(index)) is not None
        ]
        if len(stored) < 2:
            continue
        rows, biases = stored[0].reshape(editor.shape(weight)).copy(), stored[1]
        least = least_weight(ranges[f"{name}.input"], ranges[f"{name}.output"])
        empty = (np.abs(rows).max(axis=1) < least) & (biases != 0)
        if empty.any():
            rows[empty, 0] = least
            editor.replace_data(weight, rows)
            is_changed = True
    return editor.to_bytes() if is_changed else model


def tflite_dynamic(model: bytes, inputs: Inputs = MappingProxyType({})) -> bytes:
    """Dynamic range: int8 weights as in `tflite_int8`, activations quantised row by row at run time."""
    return _quantize(
        model, lambda recipe: recipe.add_dynamic_config(regex=".*", operation_name=_FULLY_CONNECTED, num_bits=8),
        whole=_whole_weights(model, tflite_sites(model), inputs),
    )  # fmt: skip


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


def _whole_weights(model: bytes, sites: Mapping[str, Site], inputs: Inputs) -> dict[str, NDArray[np.int8]]:
    """The weights of float products on their int8 grids ``[out, in]``, by one site of each that ``inputs`` tell of."""
    if not inputs:
        return {}
    editor, users = TfliteEditor(model), defaultdict[int, list[str]](list)
    for name, site in sites.items():
        users[editor.graph.tensors[_weight(editor, site)].buffer].append(name)
    whole = {}
    for names in users.values():
        if (rows := inputs_of(names, inputs)) is not None:
            tensor = _weight(editor, sites[names[0]])
            data = editor.data(tensor)
            assert data is not None
            weight = data.view(np.float32).reshape(editor.shape(tensor)).T
            largest = np.abs(weight).max(axis=0)
            whole[names[0]] = rounded(weight, np.where(largest > 0, largest, 1) / MOST, rows).T
    return whole


def _weight(editor: TfliteEditor, site: Site) -> int:
    return int(editor.graph.operators[int(site.operator)].inputs[1])


def _quantize(
    model: bytes,
    configure: Callable[[recipe_manager.RecipeManager], None],
    statistics: dict[str, dict[str, np.ndarray]] | None = None,
    *,
    whole: Mapping[str, NDArray[np.int8]] = MappingProxyType({}),
) -> bytes:
    """``whole``: int8 weights ``[out, in]`` by site that take the place of the nearest ones."""
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
    for name, site in tflite_sites(quantised).items() if whole else ():
        if name in whole:
            editor.replace_data(_weight(editor, site), whole[name])
    with_needed_versions(editor)
    return editor.to_bytes()
