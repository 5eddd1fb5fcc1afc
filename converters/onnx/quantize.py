"""Float ONNX → int8 (QDQ), dynamic-range or fp16 ONNX, with onnxruntime's quantizers.

Only products with weights are quantised, see `tflite.quantize`. QDQ is the portable form: every execution provider
reads it, and ONNX Runtime's CPU provider turns each Gemm with its QuantizeLinear and DequantizeLinear into one QGemm.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

from perceiver_edge.converters.onnx.graph import GEMM_OPERATORS, onnx_sites
from perceiver_edge.converters.onnx.half import float32_nodes, without_round_trips
from perceiver_edge.converters.onnx.unsaturated import LARGEST_PAIR, largest_magnitudes
from perceiver_edge.converters.rounding import MOST, Inputs, inputs_of, rounded
from perceiver_edge.converters.sites import Site, least_weight, require_sites, scalable


def onnx_int8(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], float_sites: Collection[str] = (),
    inputs: Inputs = MappingProxyType({}),
) -> onnx.ModelProto:  # fmt: skip
    """Static int8 as QDQ: weights int8 per channel and symmetric, activations uint8 per tensor (fast on x86 and Arm).

    The scales of weights are such that nothing saturates on any x86: see `unsaturated`.

    Args:
        ranges: (min, max) by quantisation point, ``<site>.input`` and ``<site>.output``, for every site.
        float_sites: sites without ranges, which stay in float.
        inputs: what products are fed, ``[rows, in]`` by site: their weights are rounded by it (`rounding`). Those of
            other sites are rounded each on its own.

    Raises:
        ConversionError: sites and ranges do not match.
    """
    sites = onnx_sites(model.graph)
    sites = {name: site for name, site in sites.items() if name not in float_sites}
    require_sites(sites, {point.rsplit(".", 1)[0] for point in ranges}, "ONNX")
    tensors = {site.input: ranges[f"{name}.input"] for name, site in sites.items()}
    tensors |= {site.output: ranges[f"{name}.output"] for name, site in sites.items()}
    least = {name: least_weight(ranges[f"{name}.input"], ranges[f"{name}.output"]) for name in sites}
    on_grids, grids = _on_grids(model, sites, inputs, least)
    quantizer = QDQQuantizer(
        _with_shapes(on_grids),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax, {tensor: scalable(*limits) for tensor, limits in tensors.items()}
        ),
        nodes_to_quantize=[site.operator for site in sites.values()],
        nodes_to_exclude=[],
        op_types_to_quantize=list(GEMM_OPERATORS),
        extra_options={"WeightSymmetric": True} | grids,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def onnx_dynamic(model: onnx.ModelProto, inputs: Inputs = MappingProxyType({})) -> onnx.ModelProto:
    """Dynamic range: int8 weights per channel as in `onnx_int8`, activations quantised at run time."""
    on_grids, grids = _on_grids(model, onnx_sites(model.graph), inputs)
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        quantize_dynamic(
            on_grids,
            path,
            op_types_to_quantize=list(GEMM_OPERATORS),
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True} | grids,
        )
        return onnx.load(path)


def onnx_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """float16, but for the inputs, the outputs and what `onnx.half` names. For GPUs: CPUs convert back and forth."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(_copy(model), keep_io_types=True, node_block_list=float32_nodes(model))
    converted = ONNXModel(without_round_trips(half))
    converted.topological_sort()  # the casts of the inputs come last otherwise
    onnx.checker.check_model(converted.model, full_check=True)
    return converted.model


def _on_grids(
    model: onnx.ModelProto, sites: Mapping[str, Site], inputs: Inputs,
    least: Mapping[str, float] = MappingProxyType({}),
) -> tuple[onnx.ModelProto, dict[str, Any]]:  # fmt: skip
    """A copy whose weights lie on their grids where ``inputs`` tell how, and the grids as the quantizers take them.

    ``least``: of `least_weight`, by site.
    """
    copy, users = _copy(model), defaultdict[str, list[str]](list)
    for name, site in sites.items():
        users[site.weight].append(name)
    grids = {}
    for tensor in copy.graph.initializer:
        if (names := users.get(tensor.name)) is None:
            continue
        weight = numpy_helper.to_array(tensor)
        largest = np.maximum(largest_magnitudes(weight), max(least.get(name, 0.0) for name in names))
        grids[tensor.name] = [{"axis": 1, "rmin": -limit, "rmax": limit} for limit in largest.tolist()]
        if (rows := inputs_of(names, inputs)) is not None:
            scale = np.where(largest > 0, largest, 1) / MOST
            whole = rounded(weight, scale, rows, largest_pair=LARGEST_PAIR)
            tensor.CopyFrom(numpy_helper.from_array((whole * scale).astype(weight.dtype), tensor.name))
    return copy, {"TensorQuantOverrides": grids}


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """As the quantizer does it where nobody has, without its further copy of the weights: the model is used up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save_model(model, path, save_as_external_data=True)
        model.Clear()
        return load_model_with_shape_infer(path)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The quantizers work in place."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantizer advises on the root logger to preprocess a graph that is preprocessed already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
