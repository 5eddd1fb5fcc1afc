"""Load and run mutants of one model, one after the other, until told to stop or until an engine ends this process.

    python engine_worker.py MODEL START COUNT

Prints ``<index> <outcome>`` for each, before and after: the parent knows from the last line who ended the process.
"""

import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from mutants import mutant

from perceiver_edge.errors import PerceiverEdgeError
from perceiver_edge.runtime import load

MOST_VALUES = 1 << 24
"""Of an input: a mutant may say 10¹² and be right by its own graph."""


def outcome(content: bytes) -> str:
    try:
        runner = load(content, threads=1)
        sizes = {name: [max(size, 1) for size in spec.shape] for name, spec in runner.inputs.items()}
        if any(np.prod(size, dtype=np.float64) > MOST_VALUES for size in sizes.values()):
            return "large"
        runner({name: np.zeros(sizes[name], spec.dtype) for name, spec in runner.inputs.items()})
    except PerceiverEdgeError:
        return "refused"
    except Exception:
        return "FAULT " + traceback.format_exc(limit=-2).replace("\n", " | ")
    return "ran"


def main() -> None:
    seed, start, count = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    for index in range(start, start + count):
        print(index, "begun", flush=True)
        print(index, outcome(mutant(seed, index, is_text=False)), flush=True)


if __name__ == "__main__":
    main()
