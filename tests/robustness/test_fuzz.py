"""Damaged files of every format are read or refused: no other exception, no end of this process, no wait without end.

`pytest` tries some hundred of each; ``pytest --slow tests/robustness`` ten thousand.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

import pytest

from perceiver_edge.errors import PerceiverEdgeError

pytest.importorskip("PIL.Image")
sys.path.insert(0, str(Path(__file__).parent))

from mutants import mutant
from targets import targets

TARGETS = targets()
SHORT, LONG = 150, 10_000


def faults(name: str, indices: range) -> list[str]:
    target = TARGETS[name]
    found = []
    for index in indices:
        content = mutant(target.seed, index, is_text=target.is_text)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(content)
        except PerceiverEdgeError as error:
            if any(not (c.isprintable() or c in "\n\t") for c in str(error)):
                found.append(f"mutant {index}: the message commands the terminal: {error!r}")
        except Exception:
            found.append(f"mutant {index}: {traceback.format_exc(limit=-3)}")
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name):
    TARGETS[name].read(TARGETS[name].seed)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read(name):
    assert faults(name, range(SHORT)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_ten_thousand_damaged_files_are_refused_or_read(name):
    assert faults(name, range(SHORT, LONG + SHORT)) == []
