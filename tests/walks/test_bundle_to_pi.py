"""A colleague's bundle on a Raspberry Pi: every Python line of docs/raspberry-pi.md and of the card, on a 64-bit Arm.

Emulated; `benchmarks/mobile/arm64.sh` makes what it needs. Times mean nothing there.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest

from perceiver_edge.devices.arm64 import CPUS, interpreter
from perceiver_edge.devices.elsewhere import FOLDER_VARIABLE
from perceiver_edge.errors import NotRunError

pytestmark = [
    pytest.mark.devices,
    pytest.mark.skipif(FOLDER_VARIABLE not in os.environ, reason=f"set {FOLDER_VARIABLE} to the folder of arm64.sh"),
]


@pytest.fixture(scope="session")
def installed(tmp_path_factory, request):
    """The wheel of this package, unpacked: what pip would put beside numpy and the engine."""
    folder = tmp_path_factory.mktemp("installed")
    leftovers = shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".*_cache", ".venv*")
    source = shutil.copytree(request.config.rootpath, folder / "source", ignore=leftovers)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "--wheel-dir", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


@pytest.fixture(params=CPUS, ids=lambda cpu: cpu.name)
def pi(request, installed, digits_folder, tmp_path):
    """Runs Python there, in a home folder with the bundle in it."""
    shutil.copytree(digits_folder, tmp_path / "digits")

    def run(code, cwd=tmp_path):
        with interpreter(request.param, runtime="a Raspberry Pi") as (command, packages):
            environment = {"PYTHONPATH": f"{packages}:{installed}", "HOME": str(tmp_path)}
            done = subprocess.run(
                [*command, "-c", code],
                cwd=cwd,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        run("")
    except NotRunError as error:
        pytest.skip(str(error))
    return run


def test_the_pages_lines_work_in_their_order(pi, page_blocks):
    lines = [block for block in page_blocks("docs/raspberry-pi.md", "python") if "weight_cache=" not in block]
    assert len(lines) >= 2
    printed = pi("\n".join(lines).replace("rounds=100, warmup=10", "rounds=2, warmup=0")).splitlines()
    assert float(printed[0]) > 0.98
    assert [line.split()[0] for line in printed[1:3]] == ["fp32", "int8"]


def test_the_cards_programs_name_the_class(pi, tmp_path):
    """Those that need no Pillow: the sample is taken from the bundle's own, instead of a picture."""
    folder = tmp_path / "digits"
    programs = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(programs) == 4
    sample = "; ".join([
        "import numpy as np", 'held = np.load("held_out.npz")',
        'sample = held["input.input"][0]', 'print(held["labels"][0])',
    ])  # fmt: skip
    for program in programs:
        without_picture = re.sub(r"^(from PIL|picture =|fitted =|pixels =).*\n", "", program, flags=re.MULTILINE)
        ready = re.sub(r"^sample =.*$", sample, without_picture, flags=re.MULTILINE)
        label, answer = pi(ready, folder).splitlines()[:2]
        assert re.match(rf"(class )?{label}\b", answer)
