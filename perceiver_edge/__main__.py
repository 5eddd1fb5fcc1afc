"""``python -m perceiver_edge <command>``, the same as ``perceiver-edge <command>``."""

from perceiver_edge.commands.main import main

if __name__ == "__main__":
    raise SystemExit(main())
