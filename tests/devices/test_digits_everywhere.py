"""The digits, really run in every runtime that this machine can have; what it cannot have is skipped, and why."""

import contextlib
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge import convert, verify
from perceiver_edge.devices import arm64, tflite_runtime
from perceiver_edge.devices.elsewhere import folder
from perceiver_edge.devices.runtimes import NATIVE, RUNTIMES
from perceiver_edge.errors import NotRunError

pytestmark = pytest.mark.devices

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mobile" / "arm64.sh"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return _converted(tmp_path_factory, "int8")


@pytest.fixture(scope="session")
def dynamic_bundle(tmp_path_factory):
    return _converted(tmp_path_factory, "dynamic")


def _converted(tmp_path_factory, quantize):
    output = tmp_path_factory.mktemp("compiled") / "digits"
    assert convert.main(["--quantize", quantize, "--quiet", "--output", str(output)]) == 0
    return output


@pytest.fixture(scope="session")
def environments():
    """Made once, in the user's folder of devices, and kept there."""
    with contextlib.suppress(NotRunError):  # the row then is 'not run', and says the same
        if not (folder() / tflite_runtime.NAME).exists():
            tflite_runtime.make()
    if not (folder() / "arm64").exists():
        subprocess.run([SCRIPT], check=False)


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("runtime", [r.name for r in RUNTIMES if r.name not in NATIVE.values()])
def test_the_answers_are_those_of_this_processor(runtime, bundle, tmp_path, capsys):
    output = tmp_path / "devices.json"
    rows, code = _rows(bundle, runtime, output)
    assert {row["precision"] for row in rows} == {"fp32", "int8"}
    if missing := [f"{row['reason']}; {row['fix']}" for row in rows if row["status"] == "not run" and row["fix"]]:
        pytest.skip(missing[0])
    assert code == 0, capsys.readouterr()
    for row in rows:
        assert row["native"]["metrics"]["cosine"] >= 0.999
        assert row["native"]["metrics"]["top1_agreement"] >= 0.99


def _rows(bundle, runtime, output):
    code = verify.main([str(bundle), "--runtimes", runtime, "--samples", "50", "--output", str(output), "--quiet"])
    return [row for row in json.loads(output.read_text())["rows"] if row["runtime"] == runtime], code


EMULATED = [r.name for r in RUNTIMES if "-x86-" in r.name or "-arm64-" in r.name]


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("runtime", EMULATED)
def test_a_wide_model_is_right_on_every_emulated_processor(runtime, wide_bundle, tmp_path, capsys):
    """Seen before: on AVX2 without VNNI ONNX Runtime lost 0.22 of the norm and every answer."""
    rows, code = _rows(wide_bundle, runtime, tmp_path / "devices.json")
    if missing := [f"{row['reason']}; {row['fix']}" for row in rows if row["status"] == "not run" and row["fix"]]:
        pytest.skip(missing[0])
    assert code == 0, capsys.readouterr()
    assert {row["precision"] for row in rows} == {"fp32", "fp16", "dynamic", "int8"}


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("runtime", EMULATED)
def test_dynamic_digits_are_right_on_every_emulated_processor(runtime, dynamic_bundle, tmp_path, capsys):
    rows, code = _rows(dynamic_bundle, runtime, tmp_path / "devices.json")
    if missing := [f"{row['reason']}; {row['fix']}" for row in rows if row["status"] == "not run" and row["fix"]]:
        pytest.skip(missing[0])
    assert code == 0, capsys.readouterr()


@pytest.mark.usefixtures("environments")
@pytest.mark.parametrize("artefact", ["digits_int8.tflite", "digits_int8.onnx"])
@pytest.mark.parametrize("cpu", arm64.CPUS, ids=lambda cpu: cpu.name)
def test_the_kernels_use_dot_products_just_where_the_cpu_has_them(cpu, artefact, bundle, tmp_path, monkeypatch):
    log = tmp_path / "translated"
    monkeypatch.setenv("QEMU_LOG", "in_asm")
    monkeypatch.setenv("QEMU_LOG_FILENAME", str(log))
    with np.load(bundle / "held_out.npz") as held_out:
        inputs = {"input": held_out["input.input"][:1]}
    try:
        arm64.outputs((bundle / artefact).read_bytes(), inputs, cpu=cpu, runtime="arm64")
    except NotRunError as error:
        pytest.skip(str(error))
    words = re.findall(r"^0x[0-9a-f]+:\s+([0-9a-f]{8})", log.read_text(errors="replace"), re.MULTILINE)
    assert len(words) > 100_000
    assert any(_is_dot_product(int(word, 16)) for word in words) == ("asimddp" in cpu.features)


def _is_dot_product(word: int) -> bool:
    """SDOT or UDOT on Q registers, by vector or by element (Arm Architecture Reference Manual, C7.2)."""
    signed = word & ~(1 << 29)
    return signed & 0xFFE0FC00 == 0x4E809400 or signed & 0xFFC0F400 == 0x4F80E000
