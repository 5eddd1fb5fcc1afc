"""Trace → ONNX in every precision, by tf2onnx, ONNX Runtime's quantiser and rewrites of the graph."""
