"""The least time that a TFLite model can take on one core of named Arm CPUs: its multiply-accumulates over peak rates.

    python benchmarks/mobile/estimate.py build/digits [--output FILE.json]

**Estimated**, not measured: products at the peak rate and nothing else (no softmax, no normalisation, no memory), so a
real core is slower. It says how far int8 can carry on a core, and which cores are out of the question.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perceiver_edge.bundle.folder import read_bundle
from perceiver_edge.commands import cli
from perceiver_edge.converters.census.graph import INTEGER_WEIGHTS, Graph, Operator, product
from perceiver_edge.converters.census.tflite import read_tflite
from perceiver_edge.errors import EXIT_OK, BadInputError


@dataclass(frozen=True)
class Core:
    """``*_macs``: multiply-accumulates a cycle at the peak rate of the kernels' inner loop, Q registers.

    ``int8_by``: with which instructions. ``source``: LLVM's scheduling model that has their rates, and where known
    the number of Arm's Software Optimization Guide for the core.
    """

    name: str
    clock_ghz: float
    device: str
    int8_macs: float
    float32_macs: float
    int8_by: str
    source: str


_WITHOUT_DOT = "SMULL + SMLAL2 (8 products each) + SADALP"

CORES = (
    Core(
        "Cortex-A53", 1.4, "Raspberry Pi 3 B+", 16 / 3, 4, f"{_WITHOUT_DOT}: 16 in 3 cycles",
        "AArch64SchedA53; no guide of Arm's was found",
    ),
    Core(
        "Cortex-A72", 1.5, "Raspberry Pi 4", 8, 4, f"{_WITHOUT_DOT}: 16 in 2 cycles, SADALP on a pipe of its own",
        "AArch64SchedA57, which LLVM uses for it; guide ARM UAN 0016A",
    ),
    Core(
        "Cortex-A55", 2.0, "small core of phones", 16, 4, "SDOT: 16 a cycle", "AArch64SchedA55",
    ),
    Core(
        "Cortex-A76", 2.4, "Raspberry Pi 5", 32, 8, "SDOT: 16 on each of two pipes",
        "AArch64SchedNeoverseN1, of its server twin; guide PJDOC-466751330-7215",
    ),
    Core(
        "Cortex-X1", 2.84, "large core of phones of 2021", 64, 16, "SDOT: 16 on each of four pipes",
        "AArch64SchedNeoverseV1, of its server twin; guide PJDOC-466751330-12804",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one run, by the type of what is multiplied."""

    int8: int
    float32: int


def count_macs(model: bytes) -> Macs:
    """Of every matrix product of a TFLite model, with weights and between activations, from the shapes in the file.

    Raises:
        BadInputError: not a TFLite model, or one with an open shape.
    """
    graph = read_tflite(model)
    counts = {True: 0, False: 0}
    for operator in graph.operators:
        gemm = graph.gemms.get(operator.outputs[0])
        if gemm is not None:
            macs, is_int8 = gemm.macs, gemm.is_int8
        elif operator.kind == "BATCH_MATMUL":
            macs, is_int8 = _between_activations(operator, graph)
        else:
            continue
        if macs is None:
            raise BadInputError("A product's shape is open, so it cannot be counted.", where=operator.name)
        counts[is_int8] += macs
    return Macs(int8=counts[True], float32=counts[False])


def _between_activations(operator: Operator, graph: Graph) -> tuple[int | None, bool]:
    """[..., M, K] × [..., K, N] → [..., M, N], either side transposed: K is the left side's elements over M."""
    left, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    num_left, num_output = product(left.shape), product(output.shape)
    if num_left is None or num_output is None or output.shape is None:
        return None, False
    depth = num_left * output.shape[-1] // num_output
    return num_output * depth, left.dtype in INTEGER_WEIGHTS


def least_time_ms(macs: Macs, core: Core) -> float:
    """On one core of the CPU."""
    cycles = macs.int8 / core.int8_macs + macs.float32 / core.float32_macs
    return cycles / (core.clock_ghz * 1e6)


def estimate(bundle_path: Path) -> dict[str, Any]:
    """JSON-ready: what was counted in each TFLite artefact of a bundle, and the least time on each core.

    Raises:
        BadInputError: not a bundle, or one without TFLite artefacts.
    """
    bundle = read_bundle(bundle_path)
    names = [name for name, artefact in bundle.manifest.artefacts.items() if artefact.format == "tflite"]
    if not names:
        raise BadInputError("There is no TFLite artefact to count.", where=bundle_path)
    rows = []
    for name in names:
        macs = count_macs(bundle.read(name))
        times = {core.name: least_time_ms(macs, core) for core in CORES}
        rows.append({"artefact": name, "macs": asdict(macs), "least_ms": times})
    return {
        "estimate": "arm_cores", "status": "estimated", "model": bundle.manifest.name,
        "cores": [asdict(core) for core in CORES], "rows": rows,
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Estimate the least time of a bundle's TFLite models on Arm cores.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it as JSON")
    arguments = parser.parse_args(argv)
    return cli.run(lambda: _estimate(arguments))


def _estimate(arguments: argparse.Namespace) -> int:
    result = estimate(arguments.bundle)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for row in result["rows"]:
        print(f"{row['artefact']}: {row['macs']['int8']:,} int8 and {row['macs']['float32']:,} float32 products")
        for core in result["cores"]:
            print(f"  {core['name']:<12}{core['clock_ghz']:>5} GHz  at least {row['least_ms'][core['name']]:10.3g} ms")
    print("Estimated, one core, products at their peak rate and nothing else; not measured.")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
