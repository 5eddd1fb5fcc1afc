"""A hundred times what any published Perceiver has: beyond it a number is a mistake, and takes memory without end."""

MOST_LAYERS = 1000
MOST_SIZE = 1_000_000
MOST_ELEMENTS = 100_000_000
"""Of an input, or of what is answered for: the pixels of the largest published one, a video, are 802,816."""
