"""``python -m perceiver_edge.verify``: prove a bundle again, here."""

from perceiver_edge.commands.verify import main

if __name__ == "__main__":
    raise SystemExit(main())
