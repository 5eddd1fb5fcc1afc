"""The time that no version could beat: an engine's own best rates, and the operations that the lowered model needs.

A rate is measured on a graph of nothing else, made by the same recipes as the peers and run by the same workers:

    gemm      [512, 1024] · [1024, 4096] · [4096, 1024] · … : four large products with weights
    exp       e^-x, eight times over        softmax    a softmax, eight times over (its exponentials are vectorised too)

An engine's rate for a precision is the best that any of its models reached; for exponentials, in either graph.

    floor = (weight MACs + core MACs) / GEMM rate + exponentials / exp rate

with the int8 rate for both kinds of product where the artefact is int8: no less than that is possible however the core
of the attention is computed. Static int8 pays nothing for exponentials, which are look-ups in a table there. Memory
traffic, normalisations and GELU are free in it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from contenders import Contender, contender
from machine import describe_machine
from operations import Operations
from peer_files import peer_file
from peer_list import PEERS
from recipes.recipe import CALIBRATION, CHAIN, calibration, gemm_weights

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.measure.side_by_side import Measured, measure_side_by_side
from perceiver_edge.progress import Progress
from perceiver_edge.provenance import tool_versions

GRAPHS = {
    "gemm": {"rows": 512, "columns": 1024},
    "exp": {"rows": 512, "columns": 512},
    "softmax": {"rows": 512, "columns": 512},
}
_ROUNDS = 7
KINDS = {"fp32": "float32", "fp16": "bfloat16", "dynamic": "int8", "int8": "int8"}
"""A precision's kind of GEMM."""

Rates = dict[str, dict[str, float]]
"""Engine → operations a second: ``float32``, ``bfloat16`` and ``int8`` (multiply-accumulates), ``exp``."""


def floor_ms(operations: Operations, rates: dict[str, float], precision: str) -> float | None:
    """None where the engine's rate for this precision was not measured."""
    gemm_per_s, exp_per_s = rates.get(KINDS[precision]), rates.get("exp")
    if gemm_per_s is None or exp_per_s is None:
        return None
    macs, exponentials = operations.weight_macs + operations.core_macs, operations.exponentials
    return 1000 * (macs / gemm_per_s + (0 if precision == "int8" else exponentials) / exp_per_s)


def measured_rates(cache: Path, *, threads: int, again: bool, progress: Progress) -> Rates:
    """This machine's rates, measured once for each set of tools and then kept in the cache; ``again`` measures anew."""
    machine = {key: value for key, value in describe_machine().items() if key != "load_average"}
    recipes = sorted(Path(__file__).parent.glob("recipes/*.py"))
    sources = [*(file.read_text() for file in (Path(__file__), *recipes)), *(str(peer) for peer in PEERS)]
    key = hashlib.sha256(repr((machine, tool_versions(), sources)).encode()).hexdigest()[:12]
    rates: Rates = {}
    for kind, sizes in GRAPHS.items():
        work = _work_folder(cache, kind, sizes)
        kept = work / f"rates_{threads}_threads_{key}.json"
        if again or not kept.exists():
            kept.write_text(json.dumps(_measure(kind, work, cache, threads, progress), indent=1))
        for engine, what, per_s in json.loads(kept.read_text()):
            of_engine = rates.setdefault(engine, {})
            of_engine[what] = max(of_engine.get(what, 0.0), per_s)
    return rates


def _measure(
    kind: str, work: Path, cache: Path, threads: int, progress: Progress
) -> list[tuple[str, str, float]]:  # fmt: skip
    """(engine, what, operations a second) of every model of this graph that runs."""
    contenders = dict(_contenders(work, cache, progress, only_float=kind != "gemm"))
    samples = work / "inputs.npz"
    np.savez(samples, **calibration(work)[0])
    with progress(f"measure rates: {kind}, {threads} threads"):
        measured = measure_side_by_side(
            {name: functools.partial(one.worker, samples, threads) for name, one in contenders.items()},
            rounds=_ROUNDS, budget_s=0,
        )  # fmt: skip
    return [
        (
            contenders[name].engine,
            KINDS[contenders[name].precision] if kind == "gemm" else "exp",
            _operations(kind, GRAPHS[kind]) / (result.latency.median_ms / 1000),
        )
        for name, result in measured.items()
        if isinstance(result, Measured)
    ]


def _operations(kind: str, sizes: dict[str, int]) -> int:
    if kind == "gemm":
        return sizes["rows"] * sum(weight.size for weight in gemm_weights(sizes["columns"]))
    return CHAIN * sizes["rows"] * sizes["columns"]


def _work_folder(cache: Path, kind: str, sizes: dict[str, int]) -> Path:
    work = cache.absolute() / f"rate_{kind}_{sizes['rows']}x{sizes['columns']}"
    if not (work / CALIBRATION).exists():
        work.mkdir(parents=True, exist_ok=True)
        (work / "rate.json").write_text(json.dumps({"kind": kind, **sizes}))
        shape = (4, sizes["rows"], sizes["columns"])
        np.savez(work / CALIBRATION, input=np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    return work


def _contenders(
    work: Path, cache: Path, progress: Progress, *, only_float: bool
) -> Iterator[tuple[str, Contender]]:  # fmt: skip
    """A peer that cannot make or run the graph leaves its engine's rate to the others."""
    for peer in PEERS:
        if only_float and KINDS[peer.precision] == "int8":
            continue
        try:
            yield peer.made_by, contender(peer, peer_file(peer, work, cache, progress), cache)
        except PerceiverEdgeError:
            continue
