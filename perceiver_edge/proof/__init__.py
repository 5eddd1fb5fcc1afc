"""Is an artefact equal to the float model within stated bounds: held-out samples, metrics, gates, the verdict.

Knows the reference and the engines; writes no file and prints nothing.
"""
