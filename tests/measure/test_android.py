"""What is sent to a phone's shell."""

import shlex

from perceiver_edge.measure import android
from perceiver_edge.measure.android import run_on_phone


def test_file_names_are_one_word_in_the_phones_shell(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(android, "_adb", lambda *arguments: sent.append(arguments) or "")
    monkeypatch.setattr(android, "parse", lambda text: text)
    binary = tmp_path / "benchmark model"
    binary.touch()
    run_on_phone("phone", binary, tmp_path / "a; reboot.tflite", threads=1)
    words = shlex.split(sent[-1][-1])
    assert "/data/local/tmp/perceiver_edge/benchmark model" in words
    assert "--graph=/data/local/tmp/perceiver_edge/a; reboot.tflite" in words
