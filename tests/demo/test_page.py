"""The page itself, in a headless browser: drawn on, fed, switched."""

import dataclasses
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from perceiver_edge.demo.browser import headless_browser
from perceiver_edge.demo.server import served
from perceiver_edge.demo.site import demo_site
from perceiver_edge.files.preprocessing import RESIZE, Pictures
from perceiver_edge.proof.held_out import HELD_OUT_NAME, HeldOut

Keys = pytest.importorskip("selenium.webdriver.common.keys").Keys

pytestmark = [pytest.mark.devices, pytest.mark.usefixtures("engines")]

ENGINES = ("LiteRT.js", "ONNX Runtime")
PRECISIONS = ("Int8", "Float32")
PATIENCE_S = 30

# Points about the middle of the pad, in pixels.
DRAWINGS = {
    0: [[(0, -80), (-32, -62), (-42, -25), (-42, 25), (-30, 65), (0, 80), (30, 65), (42, 25), (40, -30), (0, -80)]],
    1: [[(-25, -50), (10, -80), (10, 80)]],
    2: [[(-40, -50), (-15, -78), (20, -76), (38, -50), (25, -10), (-10, 35), (-45, 78), (48, 76)]],
    3: [[(-38, -68), (0, -80), (34, -62), (32, -28), (-2, -6), (34, 14), (40, 50), (8, 80), (-40, 68)]],
    4: [[(14, -80), (-46, 26), (46, 24)], [(20, -24), (16, 82)]],
    7: [[(-52, -80), (52, -80), (10, -5), (-20, 82)], [(-48, 0), (48, -8)]],  # as its data write it, with a bar
}  # fmt: skip


class Page:
    """What a visitor does and sees."""

    def __init__(self, browser):
        self.browser = browser

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def choose(self, group, label):
        buttons = self.wait_for(lambda: self.browser.find_elements("css selector", f"#{group} button"))
        next(button for button in buttons if label in button.text).click()

    def wait_for(self, what):
        end = time.monotonic() + PATIENCE_S
        while not (seen := what()):
            assert time.monotonic() < end, self.one("body").text
            time.sleep(0.05)
        return seen

    def wait_until_ready(self):
        cards = self.browser.find_elements
        states = self.wait_for(
            lambda: (
                (s := [c.get_attribute("data-state") for c in cards("css selector", "#precisions button")])
                and not {"loading", None} & set(s)
                and s
            )
        )
        assert states == ["ready"] * len(PRECISIONS), self.one("#precisions").text

    def draw(self, strokes):
        from selenium.webdriver.common.action_chains import ActionChains

        pad = self.one("#pad")
        for first, *rest in strokes:
            pen = ActionChains(self.browser, duration=5).move_to_element_with_offset(pad, *first).click_and_hold()
            for point in rest:
                pen.move_to_element_with_offset(pad, *point)
            pen.release().perform()

    def wait_for_answer(self, digit):
        self.wait_for(lambda: self.one("#top strong").text == str(digit))

    def console_errors(self):
        return [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def opened(bundle, *flags):
    with served(demo_site(bundle, node_modules=None)) as address, headless_browser(flags=flags) as browser:
        browser.get(address)
        yield Page(browser)


@pytest.fixture(scope="module")
def digits_page(digits):
    with opened(digits) as page:
        yield page


@pytest.fixture(params=ENGINES)
def ready(request, digits_page):
    digits_page.choose("engines", request.param)
    digits_page.wait_until_ready()
    yield digits_page
    digits_page.browser.execute_script("document.getElementById('clear').click()")
    assert digits_page.console_errors() == []


@pytest.mark.parametrize("digit", DRAWINGS)
def test_a_drawn_digit_is_read_by_both_precisions(ready, digit):
    ready.draw(DRAWINGS[digit])
    for precision in PRECISIONS:
        ready.choose("precisions", precision)
        ready.wait_for_answer(digit)
    assert "answering in" in ready.one("#claim").text


def test_held_out_digits_are_read_by_both_precisions_as_by_the_reference(ready, digits):
    held_out = HeldOut.from_bytes(digits.read(HELD_OUT_NAME), where="")
    examples = np.unique(held_out.labels, return_index=True)[1]  # the page goes round ten, one of each class
    for expected in held_out.reference[examples].argmax(axis=1):
        ready.one("#example").click()
        for precision in PRECISIONS:
            ready.choose("precisions", precision)
            ready.wait_for_answer(expected)


def test_clearing_takes_the_answer_back(ready):
    ready.draw(DRAWINGS[1])
    ready.wait_for_answer(1)
    ready.one("#clear").click()
    ready.wait_for_answer("–")


def test_a_page_has_threads(digits_page):
    assert digits_page.browser.execute_script("return crossOriginIsolated") is True


@pytest.mark.parametrize("resize", RESIZE)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_is_prepared_as_the_calibration_does(digits_page, tmp_path, mode, resize):
    """To one level of 255: Pillow's weights are fixed-point numbers, those of the page are not."""
    size, channels = (20, 30), len(mode)
    noise = np.random.default_rng(0).integers(0, 256, (70, 101, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    prepare = Pictures(size=size, channels=channels, mean=(0.5,), std=(0.25,), resize=resize)
    script = """
        const [bytes, size, done] = arguments;
        const {fittedPixels, normalised} = await import("./picture.js");
        const pixels = await fittedPixels(new Blob([new Uint8Array(bytes)]), size);
        done(Array.from(normalised(pixels, {channels: size.channels, mean: [0.5], std: [0.25]})));
    """
    values = digits_page.browser.execute_async_script(
        f"(async (...arguments) => {{{script}}})(...arguments)",
        list((tmp_path / "noise.png").read_bytes()),
        {"height": size[0], "width": size[1], "channels": channels, "resize": resize},
    )
    np.testing.assert_allclose(
        np.reshape(values, (*size, channels)), prepare(tmp_path / "noise.png"), atol=1.01 / 255 / 0.25, rtol=0
    )


def test_a_picture_is_shown_to_a_model_of_pictures(tiny, tmp_path):
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    with opened(tiny) as page:
        page.wait_until_ready()
        page.one("#file").send_keys(str(tmp_path / "grey.png"))
        page.wait_for(lambda: page.one("#top strong").text != "–")
        assert page.one("#picture").is_displayed()
        assert page.console_errors() == []


def test_arrow_keys_go_through_a_radio_group_and_around(ready):
    def chosen():
        (one,) = ready.browser.find_elements("css selector", '#precisions [aria-checked="true"]')
        return one

    buttons = ready.browser.find_elements("css selector", "#precisions button")
    chosen().send_keys(Keys.HOME)
    first = chosen()
    assert (first, [b.get_attribute("tabindex") for b in buttons]) == (buttons[0], ["0", "-1"])
    first.send_keys(Keys.ARROW_RIGHT)
    second = chosen()
    assert second != first
    assert ready.browser.switch_to.active_element == second
    second.send_keys(Keys.ARROW_DOWN)
    assert chosen() == first
    first.send_keys(Keys.END)
    assert chosen() == second
    second.send_keys(Keys.HOME)
    assert chosen() == first


def test_what_a_visitor_may_ask_is_said(ready, tiny):
    assert "how far a model's answers are from the float model's" in ready.one("#meaning").text
    assert "a 7 has a bar" in ready.one("#how").text
    assert not ready.one("#random").is_displayed()
    with opened(tiny) as page:
        page.wait_until_ready()
        assert "Its answers mean nothing" in page.one("#random").text
        assert not page.one("#how").is_displayed()


def test_classes_have_their_names(tiny):
    names = tuple(f"kind {letter}" for letter in "abcdefghij")
    site = demo_site(tiny, node_modules=None)
    named = dataclasses.replace(tiny.manifest, class_names=names).to_json()
    with served({**site, "bundle/manifest.json": named}) as address, headless_browser() as browser:
        browser.get(address)
        page = Page(browser)
        page.wait_until_ready()
        page.one("#example").click()
        page.wait_for(lambda: page.one("#bars .best .label").text in names)


def test_a_camera_is_watched_until_it_is_turned_off(tiny):
    with opened(tiny, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as page:
        page.wait_until_ready()
        page.one("#camera").click()
        page.wait_for(lambda: page.browser.find_elements("css selector", "#bars .best"))
        assert page.one("#camera-view").is_displayed()
        page.one("#clear").click()
        page.wait_for(lambda: not page.one("#camera-view").is_displayed())
        assert page.one("#camera").get_attribute("aria-pressed") == "false"
        assert page.console_errors() == []
