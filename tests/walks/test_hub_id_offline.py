"""A name of the Hugging Face Hub where there is no network: an error that says what to do, here and elsewhere."""

import os
import re
import shlex
import subprocess
import sys

PAGE = "docs/from-pytorch-and-keras.md"


def test_the_error_has_the_lines_to_run(tmp_path, page_blocks):
    (line,) = (block for block in page_blocks(PAGE, "sh") if "vision-perceiver" in block)
    words = [sys.executable if word == "python" else word for word in shlex.split(line)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=offline)
    assert done.returncode == 2
    assert "hf download deepmind/vision-perceiver-fourier --local-dir vision-perceiver-fourier" in done.stderr
    assert re.search(r"without network: --model vision-perceiver-fourier$", done.stderr, flags=re.MULTILINE)
    assert list(tmp_path.iterdir()) == []
