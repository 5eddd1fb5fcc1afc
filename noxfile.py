"""What is tried where: ``nox -l`` lists it, ``nox -t ci`` is a short part, ``nox -t matrix`` all of it and the table.

Needs nox and uv (``pip install nox uv``). An interpreter that is not on this machine is said and skipped; none is
downloaded. Results lie in ``build/matrix``, one line of JSON a cell; `tests/matrix/table.py` writes docs/install.md.
"""

import json
import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.tags = ["ci"]

ROOT = Path(__file__).parent
RESULTS = ROOT / "build" / "matrix"
BUNDLE = RESULTS / "digits"
MAIN_JOB = ("python", "-m", "perceiver_edge.convert", "--quantize", "int8", "--overwrite", "--quiet", "--output")
TENSORFLOW_WORKS = "import tensorflow as tf; tf.reduce_sum(tf.ones(3)); print(tf.__version__)"

# pyenv keeps its interpreters off the path; its shims answer only where a version is chosen.
for folder in sorted(Path.home().glob(".pyenv/versions/3.*/bin")):
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"

PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
NOTHING = "none"
TENSORFLOWS = (
    NOTHING, "tensorflow 2.18.1", "tensorflow 2.19.1", "tensorflow 2.20.0", "tensorflow 2.21.0",
    "tensorflow-cpu 2.19.1", "tensorflow-cpu 2.21.0",
)  # fmt: skip

NUMPY_1 = "numpy<2"
ONNX, TFLITE = "digits_int8.onnx", "digits_int8.tflite"
ENGINES = {
    **{("onnxruntime", version): (ONNX, NUMPY_1) for version in ("1.14.1", "1.16.3", "1.18.1")},
    **{("onnxruntime", version): (ONNX,) for version in ("1.19.2", "1.20.1", "1.22.1", "1.23.2", "1.32.0")},
    **{("ai-edge-litert", version): (TFLITE, NUMPY_1) for version in ("1.0.1", "1.1.2")},
    **{("ai-edge-litert", version): (TFLITE,) for version in ("1.2.0", "1.4.0", "2.0.3", "2.1.0", "2.2.0", "2.3.0")},
    ("tflite-runtime", "2.14.0"): (TFLITE, NUMPY_1),
}
"""Engine and version: the model that it runs, and what else has to be there."""

OF_CI = {
    ("3.9", "onnxruntime", "1.14.1"), ("3.9", "tflite-runtime", "2.14.0"), ("3.10", "ai-edge-litert", "1.0.1"),
    ("3.13", "onnxruntime", "1.32.0"), ("3.13", "ai-edge-litert", "2.3.0"),
}  # fmt: skip

RUNTIMES = [
    nox.param(python, engine, version, id="-".join(cell), tags=["ci"] * (cell in OF_CI))
    for engine, version in ENGINES
    for python in PYTHONS
    for cell in [(python, engine, version)]
]


@nox.session(python=["3.10", "3.12", "3.13"], tags=["matrix"])
def tests(session: nox.Session) -> None:
    """The suite on another Python; arguments after ``--`` go to pytest."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python="3.13", tags=["ci"])
def other_python(session: nox.Session) -> None:
    """The main job on the newest Python that compiles, proven again; arguments after ``--`` are for pytest."""
    session.install("-e", ".[test]")
    output = _main_job(session)
    session.run("python", "-m", "perceiver_edge.verify", str(output), "--quiet")
    if session.posargs:
        session.run("pytest", *session.posargs)


@nox.session(python="3.10", tags=["ci", "matrix"])
def lowest(session: nox.Session) -> None:
    """The lowest declared version of everything on the lowest Python: the main job; ``--`` as above."""
    wheels = ("--only-binary", ":all:", "--no-binary", "perceiver-edge")
    session.install("-e", ".[test]", "--resolution", "lowest-direct", *wheels)
    output = _main_job(session)
    session.run("python", "-m", "perceiver_edge.verify", str(output), "--quiet")
    if session.posargs:
        session.run("pytest", *session.posargs)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """The newest of everything, beyond our own upper bounds: is there news?"""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"]
    wanted = [*extras["convert"], *extras["verify"], *extras["tensorflow"], *extras["hub"], *project["dependencies"]]
    unbound = sorted({re.split(r"[<>=; ]", line)[0] for line in wanted} - {"perceiver-edge[verify]", "tensorflow"})
    session.install("--upgrade", "pytest", *unbound, *session.posargs)
    session.install("--no-deps", "-e", ".")
    _main_job(session)
    session.run("pytest", "-q")


@nox.session(tags=["ci", "matrix"])
def bundle(session: nox.Session) -> None:
    """The digits, compiled: what the engines of `runtime` are tried with."""
    session.install(".[convert,tensorflow]")
    session.run(*MAIN_JOB, str(BUNDLE))


@nox.session(python=PYTHONS[1:-1], tags=["matrix"])
@nox.parametrize("tensorflow", TENSORFLOWS)
def compiler(session: nox.Session, tensorflow: str) -> None:
    """The documented command, by pip, on top of a TensorFlow; the main job; and that TensorFlow is as it was."""
    version = tensorflow.rpartition(" ")[2]
    if tensorflow != NOTHING:
        _install_or_skip(session, tensorflow.replace(" ", "=="), {"TensorFlow": tensorflow})
    session.install("pip")
    extras = "convert,tensorflow" if tensorflow == NOTHING else "convert"
    session.run("python", "-m", "pip", "install", "--quiet", f".[{extras}]")
    output = _main_job(session)
    session.run("python", "-m", "pip", "check")
    is_there = session.run("python", "-c", TENSORFLOW_WORKS, silent=True).split()[-1]
    if version not in (NOTHING, is_there):
        session.error(f"TensorFlow {version} was there, {is_there} is now")
    _keep(session, {"TensorFlow": tensorflow, "answers": {m: _answer(session, output / m) for m in (TFLITE, ONNX)}})


@nox.session(python="3.11")
def walk(session: nox.Session) -> None:
    """Where a TensorFlow is: the documented command and the main job; then a second one over it, noticed and mended."""
    session.install("pip", "tensorflow==2.19.1")
    session.run("python", "-m", "pip", "install", "--quiet", ".[convert]")
    output = _main_job(session)
    session.run("python", "-c", TENSORFLOW_WORKS)
    session.run("python", "-m", "pip", "install", "--quiet", "tensorflow-cpu==2.21.0")
    told = session.run(*MAIN_JOB, str(output), success_codes=[2], silent=True)
    session.log(told)
    uninstall, install = re.findall(r"pip (?:un)?install [^\n]*", told)
    for line in (uninstall, install):
        session.run("python", "-m", *line.split())
    session.run(*MAIN_JOB, str(output))
    session.run("python", "-c", TENSORFLOW_WORKS)


@nox.session(tags=["matrix"])
@nox.parametrize(["python", "engine", "version"], RUNTIMES)
def runtime(session: nox.Session, engine: str, version: str) -> None:
    """An environment with numpy and one engine, as on a device: the digits that `bundle` compiled."""
    if not BUNDLE.exists():
        session.error("nox -s bundle comes first")
    model, *beside = ENGINES[engine, version]
    cell = {"engine": f"{engine} {version}"}
    _install_or_skip(session, f"{engine}=={version}", cell, *beside)
    session.install("--no-deps", ".")
    _keep(session, {**cell, "answers": {model: _answer(session, BUNDLE / model)}})


@nox.session(tags=["matrix"], venv_backend="none")
def table(session: nox.Session) -> None:
    """Write what was tried into docs/install.md."""
    session.run("python", "tests/matrix/table.py", str(RESULTS), "docs/install.md")


def _main_job(session: nox.Session) -> Path:
    output = Path(session.create_tmp()) / "digits"
    session.run(*MAIN_JOB, str(output))
    return output


def _install_or_skip(session: nox.Session, requirement: str, cell: dict[str, object], *beside: str) -> None:
    """Install from wheels; a result that says that there are none, where there are none for this Python."""
    command = ("uv", "pip", "install", requirement, *beside, "--only-binary", ":all:")
    said = session.run(*command, external=True, silent=True, success_codes=[0, 1])  # 2: anything else went wrong
    if "No solution found" in said:
        _keep(session, {**cell, "answers": None})
        session.skip(f"{requirement} does not install on Python {session.python}")


def _answer(session: nox.Session, model: Path) -> dict[str, object]:
    said = session.run("python", "tests/matrix/answer.py", str(model), silent=True)
    session.log(said)
    return json.loads(said.strip().splitlines()[-1])


def _keep(session: nox.Session, result: dict[str, object]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", session.name).strip("-")
    (RESULTS / f"{name}.json").write_text(json.dumps({"Python": session.python, **result}) + "\n", encoding="utf-8")
