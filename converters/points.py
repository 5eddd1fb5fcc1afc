"""Find quantisation points again in a finished artefact: to read their values, and to read their scales.

Each format's library is imported only for a model of that format: a device that proves TFLite needs no ONNX.
"""

from __future__ import annotations

from numpy.typing import NDArray

from perceiver_edge.converters.half_constants import F


def is_tflite(model: bytes) -> bool:
    """Whether the bytes are a TFLite flatbuffer; the other format is ONNX."""
    return model[4:8] == b"TFL3"


def observable_outputs(model: bytes) -> dict[str, str]:
    """``<site>.output`` → the name of a tensor that `runtime.probe` can read, for every site of an artefact.

    All but one in a dynamically quantised ONNX model: a product whose result is the model's own output loses its name.
    """
    if is_tflite(model):
        from perceiver_edge.converters.tflite.graph import tflite_sites

        return {f"{name}.output": site.output for name, site in tflite_sites(model).items()}
    import onnx

    from perceiver_edge.converters.onnx.graph import onnx_observable_outputs

    return onnx_observable_outputs(onnx.load_model_from_string(model).graph)


def output_tensor(model: bytes) -> str:
    """The name of the tensor that is the model's output."""
    if is_tflite(model):
        from perceiver_edge.converters.tflite.graph import tflite_output

        return tflite_output(model)
    import onnx

    return str(onnx.load_model_from_string(model).graph.output[0].name)


def constants_in(model: bytes, dtype: type[F]) -> list[NDArray[F]]:
    """The constants of an artefact that are stored in float16 (`half_constants`) or float32, each in one dimension."""
    if is_tflite(model):
        from perceiver_edge.converters.tflite import half_constants as in_tflite

        return in_tflite.constants_in(model, dtype)
    import onnx

    from perceiver_edge.converters.onnx import half_constants as in_onnx

    return in_onnx.constants_in(onnx.load_model_from_string(model), dtype)


def quantised_points(model: bytes) -> dict[str, tuple[float, int]]:
    """(scale, int8 zero point) of every activation that a site reads or writes in int8, by quantisation point."""
    if is_tflite(model):
        from perceiver_edge.converters.tflite.graph import tflite_points

        return tflite_points(model)
    import onnx

    from perceiver_edge.converters.onnx.graph import onnx_points

    return onnx_points(onnx.load_model_from_string(model).graph)
