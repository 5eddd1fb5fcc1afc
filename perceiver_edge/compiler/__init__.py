"""From a model and samples to a published bundle: the stages of docs/architecture.md, in order.

The only room that knows lowering, converters, calibration and engines at once.
"""
