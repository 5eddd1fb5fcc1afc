"""Trace → TFLite in every precision, by TensorFlow's converter, ai-edge-quantizer and rewrites of the file."""
