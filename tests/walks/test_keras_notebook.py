"""A Keras user's notebook: the blocks of docs/from-pytorch-and-keras.md, in a fresh folder.

One epoch of training is run, and its result then replaced by that of a hundred.
"""

import subprocess
import sys

import pytest

PAGE = "docs/from-pytorch-and-keras.md"

pytestmark = pytest.mark.slow

BEFORE = """\
from perceiver_edge.data import load_digits
digits = load_digits()
images, labels = digits.train.images[:300], digits.train.labels[:300]
"""

TRAINED = """
from perceiver_edge.data import DIGITS_CHECKPOINT
model.load_named_weights(perceiver_edge.Perceiver.from_pretrained(DIGITS_CHECKPOINT).named_weights())
"""

AFTER = """
model.save("model.keras")
print(bundle.manifest.source)
"""


def test_the_block_and_the_file_that_it_saves(tmp_path, page_blocks):
    train, use = (block for block in page_blocks(PAGE, "python") if "keras" in block or 'name="mine"' in block)
    (tmp_path / "notebook.py").write_text(BEFORE + train + TRAINED + use + AFTER, "utf-8")
    done = subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Guess(name=" in done.stdout
    assert "relative error" in done.stdout
    dry = subprocess.run(
        [sys.executable, "-m", "perceiver_edge.convert", "--model", "model.keras", "--calibration-data", "random",
         "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert dry.returncode == 0, dry.stderr[-2000:]
    assert "[32, 32, 1]" in dry.stdout
