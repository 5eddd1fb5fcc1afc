"""What people type: each command's options, and what all of them print.

May know every other room; no other room knows this one. `perceiver_edge.convert` and its siblings are doors to here.
"""
