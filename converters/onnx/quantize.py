"""Float ONNX → int8 (QDQ), dynamic-range or fp16 ONNX, with onnxruntime's quantizers.

Only products with weights are quantised, see `tflite.quantize`. QDQ is the portable form: every execution provider
reads it, and ONNX Runtime's CPU provider turns each Gemm with its QuantizeLinear and DequantizeLinear into one QGemm.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from perceiver_edge.converters.onnx.graph import GEMM_OPERATORS, onnx_sites
from perceiver_edge.converters.onnx.half import float32_nodes, without_round_trips
from perceiver_edge.converters.onnx.unsaturated import largest_magnitudes
from perceiver_edge.converters.sites import require_sites, scalable


def onnx_int8(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[float, float]], float_sites: Collection[str] = ()
) -> onnx.ModelProto:
    """Static int8 as QDQ: weights int8 per channel and symmetric, activations uint8 per tensor (fast on x86 and Arm).

    The scales of weights are such that nothing saturates on any x86: see `unsaturated`.

    Args:
        ranges: (min, max) by quantisation point, ``<site>.input`` and ``<site>.output``, for every site.
        float_sites: sites without ranges, which stay in float.

    Raises:
        ConversionError: sites and ranges do not match.
    """
    sites = onnx_sites(model.graph)
    sites = {name: site for name, site in sites.items() if name not in float_sites}
    require_sites(sites, {point.rsplit(".", 1)[0] for point in ranges}, "ONNX")
    tensors = {site.input: ranges[f"{name}.input"] for name, site in sites.items()}
    tensors |= {site.output: ranges[f"{name}.output"] for name, site in sites.items()}
    quantizer = QDQQuantizer(
        _copy(model),
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
        extra_options={"WeightSymmetric": True} | _ranges_of_weights(model),
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    onnx.checker.check_model(quantised, full_check=True)
    return quantised


def onnx_dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Dynamic range: int8 weights per channel as in `onnx_int8`, activations quantised at run time."""
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        quantize_dynamic(
            _copy(model),
            path,
            op_types_to_quantize=list(GEMM_OPERATORS),
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True} | _ranges_of_weights(model),
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


def _ranges_of_weights(model: onnx.ModelProto) -> dict[str, Any]:
    """As onnxruntime's quantizers take them."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    overrides = {}
    for site in onnx_sites(model.graph).values():
        largest = largest_magnitudes(numpy_helper.to_array(weights[site.weight])).tolist()
        overrides[site.weight] = [{"axis": 1, "rmin": -limit, "rmax": limit} for limit in largest]
    return {"TensorQuantOverrides": overrides}


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
