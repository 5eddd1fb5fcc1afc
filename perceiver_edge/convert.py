"""``python -m perceiver_edge.convert``: a Perceiver in, proven TFLite and ONNX models out."""

from perceiver_edge.commands.convert import main

if __name__ == "__main__":
    raise SystemExit(main())
