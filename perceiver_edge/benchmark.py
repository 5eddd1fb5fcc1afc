"""``python -m perceiver_edge.benchmark``: how fast a bundle is here."""

from perceiver_edge.commands.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
