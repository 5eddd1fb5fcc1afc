"""``python -m perceiver_edge.demo``: see a bundle at work in the browser."""

from perceiver_edge.commands.demo import main

if __name__ == "__main__":
    raise SystemExit(main())
