"""Memory readings: bytes where the system tells them, None where it does not."""

import sys

import pytest

from perceiver_edge import memory
from perceiver_edge.measure import worker

STATUS = "Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n"


def missing(*_, **__):
    raise FileNotFoundError("/proc/self/status")


@pytest.fixture
def told(monkeypatch):
    """Let the system tell this instead, or nothing."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.Path, "write_text", lambda *_, **__: 1)  # the peak of the test's own process stays

    def tell(text):
        monkeypatch.setattr(memory.Path, "read_text", missing if text is None else lambda *_, **__: text)

    return tell


def test_what_the_system_tells_is_in_bytes(told):
    told(STATUS)
    assert memory.peak_memory_bytes() == 2048 * 1024
    assert worker._reset_peak() == 1024 * 1024


@pytest.mark.parametrize("text", [None, "Name:\tpython\n"], ids=["no /proc", "no such field"])
def test_what_the_system_does_not_tell_is_none(text, told):
    told(text)
    assert memory.peak_memory_bytes() is None
    assert worker._reset_peak() is None
