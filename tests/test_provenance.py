"""What is told of the machine and the tools, wherever that is."""

import json
import os
from importlib.metadata import version

import pytest
from rooms import FILES, PACKAGE, imported

from perceiver_edge import provenance

PI = """
processor\t: 0
BogoMIPS\t: 108.00
CPU implementer\t: 0x41
CPU part\t: 0xd08
"""


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A processor @ 2.00GHz\n", "A processor @ 2.00GHz"),
        (PI + "Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n", "Raspberry Pi 4 Model B Rev 1.4"),
        (PI + "Hardware\t: BCM2835\n", "BCM2835"),
        (PI, "CPU part 0xd08"),
    ],
)
def test_a_processor_is_named_by_what_its_system_tells(info, name, monkeypatch):
    monkeypatch.setattr(provenance.Path, "read_text", lambda *_, **__: info)
    assert provenance.processor() == name


def test_a_processor_of_which_the_system_tells_nothing_is_named_by_its_architecture(monkeypatch):
    monkeypatch.setattr(provenance.Path, "read_text", lambda *_, **__: "")
    monkeypatch.setattr(provenance.platform, "processor", lambda: "")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "aarch64")
    assert provenance.processor() == "aarch64"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not bind processes to processors")
def test_only_processors_that_this_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    machine = provenance.provenance()["machine"]
    assert machine[-1] == 1
    assert json.loads(json.dumps(machine)) == machine


def test_the_libraries_that_write_the_files_are_among_the_tools():
    versions = provenance.tool_versions()
    for name in ("onnx-ir", "flatbuffers", "protobuf", "ml-dtypes"):
        assert versions[name] == version(name)


def test_the_digest_is_of_all_code_that_decides_a_kept_result():
    """All that a compilation imports, but for what measures and what writes documents: those results are not kept."""
    reached, waiting = set(), {f"{PACKAGE}.compiler.pipeline"}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= imported(FILES[name].read_text(encoding="utf-8"), set(FILES), types=False) & set(FILES) - reached
    packages = {name if FILES[name].stem == "__init__" else name.rpartition(".")[0] for name in reached}
    assert packages - {f"{PACKAGE}.bundle", f"{PACKAGE}.measure"} <= set(provenance._SOURCES)


@pytest.mark.parametrize("name", ["TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS", "KERAS_FLOATX"])
def test_what_tells_tensorflow_how_to_compute_is_part_of_a_key(name, monkeypatch):
    before = provenance.provenance()
    monkeypatch.setenv(name, "0")
    assert provenance.provenance() != before
    monkeypatch.delenv(name)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # decides what is said, not what is computed
    assert provenance.deciding_environment().get("TF_CPP_MIN_LOG_LEVEL") is None


def test_what_a_library_sets_when_it_is_imported_decides_nothing(monkeypatch):
    before = provenance.deciding_environment()
    for name in ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"):  # scikit-learn's
        monkeypatch.setenv(name, "True")
    assert provenance.deciding_environment() == before
    monkeypatch.setenv("KMP_AFFINITY", "compact")
    assert provenance.deciding_environment() != before
