"""A bundle on one's own site: what docs/browser.md says, served by a server of one's own, looked at in Chromium."""

import re
import subprocess
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from perceiver_edge.errors import NotRunError

pytestmark = pytest.mark.devices

PATIENCE_S = 60


@pytest.fixture(scope="module")
def site(digits_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "perceiver_edge.demo", digits_folder, "--export", folder / "public"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if "npm install" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return folder / "public"


@pytest.fixture
def address(site, page_blocks):
    """Served with the headers that the page asks for, below a folder of the site, and no others."""
    text = (page_blocks.__globals__["REPOSITORY"] / "docs" / "browser.md").read_text("utf-8")
    headers = dict(re.findall(r"^\s+(Cross-Origin-[\w-]+): (\S+)$", text, re.MULTILINE))
    assert len(headers) == 2

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self):
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site.parent)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/public/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_visitor_gets_an_answer_and_threads(address):
    from perceiver_edge.demo.browser import headless_browser

    try:
        with headless_browser() as browser:
            browser.get(address)

            def wait_for(what):
                end = time.monotonic() + PATIENCE_S
                while not (seen := what()):
                    assert time.monotonic() < end, browser.find_element("css selector", "body").text
                    time.sleep(0.1)
                return seen

            wait_for(lambda: browser.find_elements("css selector", '#precisions [data-state="ready"]'))
            browser.find_element("css selector", "#example").click()
            wait_for(
                lambda: browser.find_element("css selector", "#top strong").text == "0"
            )  # the first sample's class
            assert browser.execute_script("return crossOriginIsolated")
            errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
            assert [entry for entry in errors if "favicon" not in entry["message"]] == []
    except NotRunError as error:
        pytest.skip(str(error))
