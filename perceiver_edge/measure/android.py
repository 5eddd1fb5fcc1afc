"""LiteRT's ``benchmark_model`` on an Android phone, through adb; and what it prints, read."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from perceiver_edge.errors import BadInputError, NotRunError

_RUNTIME = "benchmark_model on Android"
_FOLDER = PurePosixPath("/data/local/tmp/perceiver_edge")
"""On the phone: below the one folder that adb's user may write to and execute from."""

_TIMINGS = re.compile(
    r"Inference timings in us: Init: (?P<load>[\d.e+]+), First inference: (?P<first>[\d.e+]+), "
    r"Warmup \(avg\): [\d.e+]+, Inference \(avg\): (?P<average>[\d.e+]+)"
)
_MEMORY = re.compile(r"Memory footprint delta from the start of the tool \(MB\): init=\S+ overall=(?P<overall>[\d.]+)")
_MEDIAN = re.compile(r"^.*\bcount=\d+ .*\bmedian=(?P<us>[\d.e+]+)", re.MULTILINE)
_LONGEST_S = 600


@dataclass(frozen=True)
class PhoneTimes:
    """What the tool measured. ``median_ms``: None from a version of the tool that prints only averages.

    ``peak_bytes``: the tool's own "memory footprint delta", approximate, as it says itself; None if not printed.
    """

    load_ms: float
    first_ms: float
    average_ms: float
    median_ms: float | None
    peak_bytes: int | None


def require_phone() -> str:
    """The serial number of the one phone that is connected.

    Raises:
        NotRunError: no adb, no phone, or several.
    """
    if shutil.which("adb") is None:
        raise NotRunError(_RUNTIME, missing="adb", fix="install Android's platform tools and put adb on the PATH")
    listed = _adb("devices").splitlines()[1:]
    phones = [line.split()[0] for line in listed if line.endswith("\tdevice")]
    if len(phones) != 1:
        raise NotRunError(
            _RUNTIME, missing=f"one phone that adb may use ({len(phones)} connected)",
            fix="connect one phone, allow USB debugging on it, and look at `adb devices`",
        )  # fmt: skip
    return phones[0]


def run_on_phone(phone: str, binary: Path, model: Path, *, threads: int) -> PhoneTimes:
    """Push the tool and the model, run, and read what it printed.

    Args:
        binary: LiteRT's ``benchmark_model`` for the phone's processor.

    Raises:
        BadInputError: no such binary, or the tool failed.
    """
    if not binary.is_file():
        raise BadInputError("There is no such benchmark_model.", expected="a file", got=binary)
    tool, graph = _FOLDER / binary.name, _FOLDER / model.name
    _adb("-s", phone, "shell", f"mkdir -p {_FOLDER}")
    for source, target in ((binary, tool), (model, graph)):
        _adb("-s", phone, "push", str(source), str(target))
    program, argument = shlex.quote(str(tool)), shlex.quote(f"--graph={graph}")  # the phone's shell reads them
    return parse(_adb("-s", phone, "shell", f"chmod +x {program} && {program} {argument} --num_threads={threads}"))


def parse(text: str) -> PhoneTimes:
    """Read the output of ``benchmark_model``.

    Raises:
        BadInputError: it has no line of timings.
    """
    timings = _TIMINGS.search(text)
    if timings is None:
        raise BadInputError(
            "benchmark_model did not print its timings.", expected="a line 'Inference timings in us: …'",
            got=(text.strip().splitlines() or ["nothing"])[-1],
        )  # fmt: skip
    medians_us = _MEDIAN.findall(text)  # of the warm-up, then of the measurement
    memory = _MEMORY.search(text)
    return PhoneTimes(
        load_ms=float(timings["load"]) / 1000, first_ms=float(timings["first"]) / 1000,
        average_ms=float(timings["average"]) / 1000,
        median_ms=float(medians_us[-1]) / 1000 if medians_us else None,
        peak_bytes=None if memory is None else int(float(memory["overall"]) * 1024**2),
    )  # fmt: skip


def _adb(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["adb", *arguments], capture_output=True, text=True, check=False, timeout=_LONGEST_S, errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise BadInputError("adb did not end.", expected=f"an answer within {_LONGEST_S} s", got=error) from error
    output = done.stdout + done.stderr  # benchmark_model prints to both
    if done.returncode != 0:
        raise BadInputError(
            "adb failed.", got=(output.strip().splitlines() or [f"exit code {done.returncode}"])[-1],
            where=" ".join(("adb", *arguments)),
        )  # fmt: skip
    return output
