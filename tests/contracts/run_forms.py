"""Run many models in one process: ``python run_forms.py FOLDER``, with numpy and engines, and nothing of the tests.

For each ``NAME.model`` and ``NAME.npz`` of the folder it writes ``NAME.npy``.
"""

import sys
from pathlib import Path

import numpy as np

from perceiver_edge.runtime import load

for path in sorted(Path(sys.argv[1]).glob("*.model")):
    with np.load(path.with_suffix(".npz")) as feeds:
        np.save(path.with_suffix(".npy"), load(path.read_bytes(), threads=1)(dict(feeds)))
