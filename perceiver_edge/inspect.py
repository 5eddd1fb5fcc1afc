"""``python -m perceiver_edge.inspect``: what is inside a model file."""

from perceiver_edge.commands.inspect import main

if __name__ == "__main__":
    raise SystemExit(main())
