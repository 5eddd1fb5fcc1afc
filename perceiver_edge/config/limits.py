"""A hundred times what any published Perceiver has: beyond it a number is a mistake, and takes memory without end."""

MOST_LAYERS = 1000
MOST_SIZE = 1_000_000
