"""OpenVINO's model of the plain ONNX file, and NNCF's post-training int8 in the mode it has for transformers."""

from __future__ import annotations

from pathlib import Path

from recipe import calibration, make

FLOAT_ONNX = "plain_fp32.onnx"


def float32(work: Path, target: Path) -> None:
    import openvino as ov

    ov.save_model(ov.convert_model(work / FLOAT_ONNX), target, compress_to_fp16=False)


def nncf_int8(work: Path, target: Path) -> None:
    import nncf
    import openvino as ov

    samples = calibration(work)
    quantized = nncf.quantize(
        ov.convert_model(work / FLOAT_ONNX),
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    ov.save_model(quantized, target, compress_to_fp16=False)


if __name__ == "__main__":
    make({"openvino_fp32.xml": float32, "openvino_int8.xml": nncf_int8})
