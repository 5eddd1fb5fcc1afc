"""Models run in a headless Chromium, by the engines that web pages use: what a browser answers, and how fast."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from perceiver_edge.demo.packages import engine_files
from perceiver_edge.demo.server import Site, served
from perceiver_edge.demo.site import page_files
from perceiver_edge.errors import BadInputError, NotRunError, PerceiverEdgeError, installing

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

Engine = Literal["litertjs", "onnxruntime-web"]
Accelerator = Literal["wasm", "webgpu"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DTYPES = ("float32", "int32", "uint8", "bool")
_TIMEOUT_S = 600
_CALL = """
const [job, done] = arguments;
runModel(job).then(done, (error) => done({ error: String(error?.message ?? error) }));
"""

_HAS_WEBGPU = """
const done = arguments[0];
(navigator.gpu?.requestAdapter() ?? Promise.resolve(null)).then((adapter) => done(adapter !== null), () => done(false));
"""


@dataclass(frozen=True, eq=False)
class BrowserRun:
    """``outputs``: float32 ``[n, ...]``. ``times_ms``: of each of the n calls, the first (which allocates) included.

    A time is from arrays in JavaScript to an array in JavaScript. ``browser``: name and version.
    """

    outputs: np.ndarray
    times_ms: tuple[float, ...]
    browser: str


def browser_outputs(
    model: bytes,
    inputs: Mapping[str, np.ndarray],
    *,
    engine: Engine,
    accelerator: Accelerator = "wasm",
    threads: int = 1,
    node_modules: Path | None = None,
) -> BrowserRun:
    """Run a model of one output on n samples, one a call, in a fresh headless browser.

    Args:
        model: a .tflite model for ``litertjs``, an .onnx model for ``onnxruntime-web``.
        inputs: by name, ``[n, ...]`` of float32, int32, uint8 or bool; a call gets ``[1, ...]``.
        threads: of WASM.
        node_modules: where the npm packages are; None for `packages.default_node_modules`.

    Raises:
        NotRunError: no Chromium, driver, Selenium, npm package or WebGPU here; the message says what to install.
        BadInputError: samples that cannot be fed, or the engine refuses the model; the message has its own words.
    """
    arrays = {name: np.ascontiguousarray(values) for name, values in inputs.items()}
    num_samples = len(next(iter(arrays.values())))
    if not num_samples or any(len(values) != num_samples for values in arrays.values()):
        raise BadInputError(
            "The inputs are not samples side by side.",
            expected="one number of samples for all, at least 1",
            got={name: len(values) for name, values in arrays.items()},
        )
    for name, values in arrays.items():
        if values.dtype.name not in _DTYPES:
            raise BadInputError("An input has a dtype that pages do not feed.", expected=", ".join(_DTYPES),
                                got=values.dtype, where=name)  # fmt: skip
    site: Site = {
        **page_files(),
        **engine_files(node_modules),
        "model": model,
        **{f"input/{index}": values.tobytes() for index, values in enumerate(arrays.values())},
    }
    job = {
        "engine": engine, "accelerator": accelerator, "threads": threads, "samples": num_samples,
        "inputs": [
            {"name": name, "dtype": values.dtype.name, "shape": [1, *values.shape[1:]]}
            for name, values in arrays.items()
        ],
    }  # fmt: skip
    with served(site) as address, headless_browser() as browser:
        browser.get(f"{address}headless.html")
        if accelerator == "webgpu" and not browser.execute_async_script(_HAS_WEBGPU):
            raise NotRunError(f"{engine} on WebGPU", missing="a WebGPU adapter", fix="use accelerator 'wasm', or a GPU")
        result: dict[str, Any] = browser.execute_async_script(_CALL, job)
        if "error" in result:
            raise BadInputError(f"{engine} did not run the model.", got=result["error"], where=_name(browser))
        outputs = np.frombuffer(base64.b64decode(result["outputs"]), "<f4")
        return BrowserRun(
            outputs=outputs.reshape(num_samples, *result["shape"][1:]).astype(np.float32),
            times_ms=tuple(result["times_ms"]),
            browser=_name(browser),
        )


@contextmanager
def headless_browser(*, width_px: int = 390, height_px: int = 844, flags: Sequence[str] = ()) -> Iterator[WebDriver]:
    """A Chromium of its own profile, driven by Selenium; it keeps the console's messages for ``get_log("browser")``.

    Args:
        flags: more of Chromium's own.

    Raises:
        NotRunError: Selenium, a browser or its driver is missing.
        PerceiverEdgeError: the browser ended or did not answer while it was used.
    """
    try:
        from selenium import webdriver
        from selenium.common.exceptions import WebDriverException
    except ImportError:
        raise NotRunError("The browser", missing="the Python package 'selenium'", fix=installing("browser")) from None
    options = webdriver.ChromeOptions()
    options.binary_location = _found("a Chromium", _BROWSERS, package="chromium")
    driver = _found("ChromeDriver", ("chromedriver",), package="chromium-driver")
    options.add_argument("--headless=new")
    options.add_argument(f"--window-size={width_px},{height_px}")
    options.add_argument("--disable-dev-shm-usage")  # containers give /dev/shm 64 MB, a model may have more
    for flag in ("--enable-unsafe-webgpu", "--enable-features=Vulkan", "--enable-unsafe-swiftshader", *flags):
        options.add_argument(flag)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox does not start for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    except WebDriverException as error:
        raise NotRunError(
            "The browser",
            missing=f"a Chromium that starts ({error.msg})",
            fix="install browser and driver of one version",
        ) from error
    try:
        browser.set_script_timeout(_TIMEOUT_S)
        yield browser
    except WebDriverException as error:
        raise PerceiverEdgeError(
            "The browser ended, or did not answer.",
            expected=f"an answer within {_TIMEOUT_S} s", got=error.msg, where=_name(browser),
            fix="give it more memory or fewer samples; use a browser and a driver of one version",
        ) from error  # fmt: skip
    finally:
        browser.quit()


def _found(what: str, names: tuple[str, ...], *, package: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise NotRunError(
        "The browser", missing=f"{what} on the PATH ({', '.join(names)})", fix=f"apt-get install {package}, or its like"
    )


def _name(browser: WebDriver) -> str:
    return f"{browser.capabilities['browserName']} {browser.capabilities['browserVersion']}"
