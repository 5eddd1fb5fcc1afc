"""What all tests share: what only runs when asked for, the grid of configurations, and the golden outputs.

A test with an argument ``grid_case`` runs for every configuration of ``golden/grid.json`` and gets a `GridCase`; one
with ``golden_case`` runs for those with a stored output and gets a `GoldenCase`. ``golden/make_golden.py`` says how
they were made.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from perceiver_edge.cache import user_folder
from perceiver_edge.config import PerceiverConfig

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class GridCase:
    """One configuration. ``input_shape`` are the input axes; ``mask`` is none, random or first_sample_empty."""

    name: str
    config: PerceiverConfig
    input_shape: tuple[int, ...]
    batch: int
    mask: str
    stored: bool


@dataclass(frozen=True)
class GoldenCase:
    """A configuration with what perceiver-pytorch 0.11 computes for it in float64.

    ``weights`` (canonical names) and ``inputs`` ``[batch, *axes, channels]`` are float32, ``mask`` is None or boolean
    ``[batch, *axes]``, ``output`` is float64 ``[batch, num_classes]`` or ``[batch, num_latents, latent_dim]``.
    """

    name: str
    config: PerceiverConfig
    weights: dict[str, np.ndarray]
    inputs: np.ndarray
    mask: np.ndarray | None
    output: np.ndarray


def load_grid() -> list[GridCase]:
    grid = json.loads((GOLDEN / "grid.json").read_text())
    cases = []
    for entry in grid["cases"]:
        case = {**grid["defaults"], **entry}
        config = PerceiverConfig(**{**grid["defaults"]["config"], **entry.get("config", {})})
        cases.append(GridCase(**{**case, "config": config, "input_shape": tuple(case["input_shape"])}))
    return cases


def load_golden(case: GridCase) -> GoldenCase:
    from safetensors.numpy import load_file

    tensors = load_file(GOLDEN / f"{case.name}.safetensors")
    weights = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    return GoldenCase(
        name=case.name,
        config=case.config,
        weights=weights,
        inputs=tensors["input"],
        mask=tensors.get("mask"),
        output=tensors["output"],
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for argument, cases in (
        ("grid_case", load_grid()),
        ("golden_case", [case for case in load_grid() if case.stored]),
    ):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, cases, ids=lambda case: case.name, indirect=argument == "golden_case")


@pytest.fixture(scope="session")
def golden_case_named() -> Callable[[str], GoldenCase]:
    """The golden case of a name."""
    cases = {case.name: case for case in load_grid()}
    return lambda name: load_golden(cases[name])


@pytest.fixture
def golden_case(request: pytest.FixtureRequest) -> GoldenCase:
    return load_golden(request.param)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker, asked_for, how in (
        ("slow", config.getoption("--slow"), "--slow"),
        ("devices", "devices" in config.getoption("-m"), "-m devices"),
    ):
        for item in items:
            if item.get_closest_marker(marker) and not asked_for:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: run with {how}"))


def pytest_collection_finish() -> None:
    """What is imported by now stays: no collection of garbage, of which a conversion makes 14, looks at it again."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def few_rounds() -> Iterator[None]:
    """Time a compiled model five times rather than for three seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perceiver_edge.measure.latency._BUDGET_S", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test, and no process that a test starts, sees the user's cache; installed npm packages are no cache.

    Workers of pytest-xdist share it, so that a model that two of them need is converted once.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cache_home"
    installed = user_folder() / "demo"
    (folder / "perceiver_edge").mkdir(parents=True, exist_ok=True)
    if installed.is_dir():
        with contextlib.suppress(FileExistsError):  # another worker was first
            (folder / "perceiver_edge" / "demo").symlink_to(installed, target_is_directory=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., PerceiverConfig]:
    """Make the grid's default configuration, with some fields replaced."""

    def make(**changes: object) -> PerceiverConfig:
        return PerceiverConfig(**{**json.loads((GOLDEN / "grid.json").read_text())["defaults"]["config"], **changes})

    return make
