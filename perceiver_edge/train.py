"""``python -m perceiver_edge.train``: train the embedded digits Perceiver."""

from perceiver_edge.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main())
