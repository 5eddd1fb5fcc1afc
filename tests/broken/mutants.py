"""Faults that a compiler of int8 models could have, one at a time: mutants of a sound artefact.

None of them is made up to be caught. Each is a line of a converter written wrongly: an index, an axis, a factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from broken.taken_apart import FORMATS

Mutation = Callable[[Any], bool | None]
"""Breaks a model that was taken apart; False where there is nothing to break."""


def mutants(model: bytes, format_: str, *, only: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Every mutant that differs from the model in its bytes, by name; or ``only`` that of a name."""
    taken_apart = FORMATS[format_]
    for name, mutation in mutations(taken_apart(model)):
        if only in (None, name):
            broken = taken_apart(model)
            if mutation(broken) is not False:
                yield name, broken.pack()


def mutations(model: Any) -> Iterator[tuple[str, Mutation]]:
    """All that can be broken in a model, in a fixed order."""
    shapes = {site: model.weights(site).shape for site in model.sites}
    for site, shape in shapes.items():
        alike = [other for other in shapes if other != site and shapes[other] == shape]
        for fault, mutation in _of_a_product(site, shape, alike).items():
            yield f"{site}: {fault}", mutation
    yield from _of_the_graph(model)


def _of_a_product(site: str, shape: tuple[int, int], alike: list[str]) -> dict[str, Mutation]:
    rows, columns = shape
    found: dict[str, Mutation] = {
        "bias left out": lambda m: m.rewrite_bias(site, np.zeros_like),
        "bias doubled": lambda m: m.rewrite_bias(site, lambda b: b * 2),
        "bias of the next channel": lambda m: m.rewrite_bias(site, lambda b: np.roll(b, 1)),
        "weights of four bits": lambda m: m.rewrite_weights(site, _four_bits),
        "two rows swapped": lambda m: m.rewrite_weights(site, lambda w: _swapped(w, 0, rows // 2)),
        "inputs rolled by one": lambda m: m.rewrite_weights(site, lambda w: np.roll(w, 1, axis=1)),
        "scales of the next channel": lambda m: m.rewrite_scales(site, lambda s: np.roll(s, 1)),
        "one scale for all": lambda m: m.rewrite_scales(site, lambda s: np.full_like(s, s.max())),
        "one channel's scale halved": lambda m: m.rewrite_scales(site, lambda s: _scaled(s, rows // 3, 0.5)),
        "range of the result halved": lambda m: m.rewrite_range(site, "output", factor=0.5),
        "range of the input halved": lambda m: m.rewrite_range(site, "input", factor=0.5),
        "zero point of the result off": lambda m: m.rewrite_range(site, "output", shift=40),
    }
    if rows == columns:
        found["weights transposed"] = lambda m: m.rewrite_weights(site, np.transpose)
    if alike:
        found["weights of another layer"] = lambda m: m.rewrite_weights(site, lambda w: m.weights(alike[0]))
    if site.endswith(".up"):
        found["values and gates swapped"] = lambda m: _rolled(m, site, rows // 2)
    if site.endswith(".qkv"):
        found["query and key swapped"] = lambda m: _permuted(m, site, (1, 0, 2))
        found["key and value swapped"] = lambda m: _permuted(m, site, (0, 2, 1))
    if site.endswith("attn.output") or (".self_attn" in site and site.endswith(".output")):
        found["heads in another order"] = lambda m: m.rewrite_weights(site, lambda w: np.roll(w, columns // 4, axis=1))
    if site == "classifier":
        found["logits rolled"] = lambda m: _rolled(m, site, 1)
    return found


def _of_the_graph(model: Any) -> Iterator[tuple[str, Mutation]]:
    for index, residual in enumerate(model.residuals()):
        yield f"sum {index}: block skipped", lambda m, r=residual: m.pass_on(r, "rows")
        yield f"sum {index}: residual left out", lambda m, r=residual: m.pass_on(r, "branch")
    for index in range(model.num_gelus()):
        yield f"gelu {index}: by tanh", lambda m, i=index: m.approximate_gelu(i)
    for index in range(model.num_softmaxes()):
        yield f"softmax {index}: scale left out", lambda m, i=index: m.sharpen_softmax(i, 4.0)
        yield f"softmax {index}: scale of one more channel", lambda m, i=index: m.sharpen_softmax(i, 1.05)
    for name, values in model.constants().items():
        for fault, change in _of_a_constant(values).items():
            yield f"constant {name} {values.shape or ''}: {fault}", lambda m, n=name, c=change: m.rewrite_constant(n, c)
    for name in model.inner_scales():
        yield f"core {name}: scale × 1.1", lambda m, n=name: m.rewrite_inner_scale(n, 1.1)
        yield f"core {name}: scale × 0.5", lambda m, n=name: m.rewrite_inner_scale(n, 0.5)


def _of_a_constant(values: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    if values.size == 1:
        if abs(values.item()) > 1e-3:
            return {f"{values.item():.3g} × 1.1": lambda v: v * 1.1}
        return {f"epsilon {other:g}": lambda v, other=other: np.full_like(v, other) for other in (1e-3, 1e-12)}
    if values.size < 8 or np.ptp(values) == 0:
        return {}
    axis = int(np.argmax(values.shape))
    return {"rolled": lambda v: np.roll(v, 1, axis=axis), "left out": np.zeros_like}


def _four_bits(weights: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(weights / 16), -7, 7) * 16


def _swapped(array: np.ndarray, one: int, other: int) -> np.ndarray:
    order = np.arange(len(array))
    order[[one, other]] = order[[other, one]]
    return array[order]


def _scaled(array: np.ndarray, index: int, factor: float) -> np.ndarray:
    scaled = np.array(array)
    scaled[index] *= factor
    return scaled


def _rolled(model: Any, site: str, by: int) -> None:
    """The rows of a product, with all that belongs to them."""
    _reordered(model, site, lambda array: np.roll(array, by, axis=0))


def _permuted(model: Any, site: str, order: tuple[int, ...]) -> None:
    _reordered(model, site, lambda array: np.concatenate([np.split(array, 3)[i] for i in order]))


def _reordered(model: Any, site: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    model.rewrite_weights(site, change)
    model.rewrite_scales(site, change)
    model.rewrite_bias(site, change)
