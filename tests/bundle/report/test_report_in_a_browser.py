"""The report as people see it: on a phone, in the dark, printed. In a headless Chromium."""

import base64
import re
import zlib

import pytest

from perceiver_edge.bundle.report import render_report
from perceiver_edge.errors import NotRunError

pytestmark = pytest.mark.devices

WIDTHS_PX = (320, 390, 768, 1280)


@pytest.fixture(scope="module")
def browser():
    from perceiver_edge.demo.browser import headless_browser

    try:
        with headless_browser() as driver:
            yield driver
    except NotRunError as error:
        pytest.skip(str(error))


@pytest.fixture
def shown(browser, manifest, answered, latency, held_out, tmp_path):  # noqa: PLR0917
    """Shows the report at a width; all that can be opened is open."""
    path = tmp_path / "report.html"
    device = "x86_64 Linux, one processor of a long name, 2 threads"
    path.write_text(render_report(manifest, answered, latency=latency, device=device, held_out=held_out))

    def show(width_px, **media):
        size = {"width": width_px, "height": 800, "deviceScaleFactor": 1, "mobile": width_px < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media.get("type", ""), "features": features})
        browser.get(path.as_uri())
        if media.get("type") != "print":
            browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
        return browser

    return show


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_the_page_is_as_wide_as_the_screen(shown, width_px):
    browser = shown(width_px)
    assert browser.execute_script("return innerWidth") == width_px
    too_wide = browser.execute_script("""
        return [...document.querySelectorAll("main *")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5 && !e.closest("thead"))
            .map((e) => e.outerHTML.slice(0, 120));
    """)
    assert too_wide == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width_px


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_names_are_broken_at_their_joints_alone(shown, width_px):
    """A name is one word between two joints, and each word stands in one line."""
    broken = shown(width_px).execute_script("""
        const broken = [];
        for (const code of document.querySelectorAll("th code, summary code, .layer code")) {
            for (const node of code.childNodes) {
                if (node.nodeType !== Node.TEXT_NODE) continue;
                const range = document.createRange();
                range.selectNodeContents(node);
                const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
                if (lines.size > 1) broken.push(code.textContent);
            }
        }
        return broken;
    """)
    assert broken == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(shown, scheme):
    """WCAG AA: 4.5 to 1."""
    low = shown(390, scheme=scheme).execute_script("""
        const luminance = (colour) => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255)
                .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (e) => {
            for (; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (colour !== "rgba(0, 0, 0, 0)") return colour;
            }
        };
        return [...document.querySelectorAll("main *")].filter((e) => e.innerText?.trim() && !e.children.length)
            .map((e) => [luminance(getComputedStyle(e).color), luminance(behind(e)), e.outerHTML.slice(0, 90)])
            .map(([a, b, html]) => [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), html])
            .filter(([ratio]) => ratio < 4.5);
    """)
    assert low == []


def test_dark_is_dark(shown):
    light, dark = (
        shown(390, scheme=scheme).execute_script("return getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    )
    assert sum(map(int, re.findall(r"\d+", dark))) < 150 < sum(map(int, re.findall(r"\d+", light)))


def test_bars_and_closed_parts_are_printed(shown):
    browser = shown(1280)
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = false")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})  # as browsers do by default
    pdf = base64.b64decode(printed["data"])
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    content = b"".join(unpacked for stream in streams if (unpacked := _unpacked(stream)))
    red, green, blue = (rb"%s\d*" % (b"%.6f" % (value / 255))[1:5] for value in (0x2F, 0x6B, 0xD0))
    bars = re.findall(rb"(?<![\d.])0?%s 0?%s 0?%s rg" % (red, green, blue), content)
    assert bars, "no bar has its colour"
    heights = shown(1280, type="print").execute_script(
        "return [...document.querySelectorAll('details dl')].map((e) => e.getBoundingClientRect().height)"
    )
    assert heights
    assert min(heights) > 10


def _unpacked(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""
