"""`convert` killed at any moment leaves the bundle that was there, or the new one, whole; and nothing in the way."""

import random
import subprocess
import sys
import time

import pytest

from perceiver_edge.bundle.folder import read_bundle

KILLS = 60


def convert(arguments, folder):
    output = ["--output", str(folder), "--overwrite", "--quiet"]
    return [sys.executable, "-m", "perceiver_edge.convert", *arguments, *output]


def kill_and_look(command, folder, seconds):
    """End a conversion over an existing bundle after so long; what is there then has to be whole."""
    process = subprocess.Popen(convert(command, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.kill()
    process.wait()
    bundle = read_bundle(folder)
    for name in bundle.manifest.all_files():
        bundle.read(name)


@pytest.mark.slow
def test_a_killed_conversion_leaves_a_whole_bundle(tiny_command, tiny_bundle, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in tiny_bundle.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    begun = time.monotonic()
    subprocess.run(convert(tiny_command, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    whole_s = time.monotonic() - begun
    chance = random.Random(0)
    for _ in range(KILLS):  # most of them near the end, where it publishes
        kill_and_look(tiny_command, folder, whole_s * chance.choice((chance.random(), 0.8 + 0.25 * chance.random())))
