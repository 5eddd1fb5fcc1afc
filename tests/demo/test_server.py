"""Exactly the site's files are served, with the headers that cross-origin isolation needs."""

import base64
import hashlib
import http.client
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from perceiver_edge.demo import server
from perceiver_edge.demo.server import address_of, content_security_policy, make_server, served
from perceiver_edge.errors import BadInputError


@pytest.fixture
def ask(tmp_path):
    """A request by its raw path, as no client would tidy it up, to (status, headers, body)."""
    (tmp_path / "secret").write_text("not on the site")
    (tmp_path / "engine.wasm").write_bytes(b"\0asm")
    site = {"index.html": b"<p>hello", "a b.mjs": b"1", "bundle/x.tflite": b"abc", "e.wasm": tmp_path / "engine.wasm"}
    with served(site) as address, closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)) as client:

        def request(path, method="GET"):
            client.request(method, path)
            response = client.getresponse()
            return response.status, response.headers, response.read()

        yield request


@pytest.mark.parametrize(
    ("path", "body", "type_"),
    [
        ("/", b"<p>hello", "text/html; charset=utf-8"),
        ("/index.html?a=b", b"<p>hello", "text/html; charset=utf-8"),
        ("/a%20b.mjs", b"1", "text/javascript; charset=utf-8"),
        ("/bundle/x.tflite", b"abc", "application/octet-stream"),
        ("/e.wasm", b"\0asm", "application/wasm"),
    ],
)
def test_a_file_of_the_site(ask, path, body, type_):
    status, headers, content = ask(path)
    assert (status, content, headers["Content-Type"]) == (200, body, type_)


@pytest.mark.parametrize("path", ["/", "/e.wasm", "/missing"])
def test_every_answer_isolates_the_page(ask, path):
    _, headers, _ = ask(path)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_head_has_the_length_and_no_body(ask):
    status, headers, body = ask("/e.wasm", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "4", b"")
    assert ask("/")[2] == b"<p>hello"


@pytest.mark.parametrize(
    "path",
    ["/secret", "/../secret", "/bundle/../secret", "/%2e%2e/secret", "/..%2fsecret", "//etc/passwd", "/bundle", "/\\"],
)
def test_what_is_not_on_the_site_is_not_found(ask, path):
    status, _, body = ask(path)
    assert status == 404
    assert b"not on the site" not in body


@pytest.mark.parametrize("port", [None, 70_000])
def test_an_address_that_cannot_be_had(port):
    with served({}) as address, pytest.raises(BadInputError, match="--port"):
        make_server({}, host="127.0.0.1", port=port or urlsplit(address).port)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_request_by_another_name_is_refused(host):
    with (
        served({"index.html": b"x"}) as address,
        closing(http.client.HTTPConnection(urlsplit(address).netloc)) as client,
    ):
        client.request("GET", "/", headers={"Host": host})
        response = client.getresponse()
        assert response.status == 421 and response.read() != b"x"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_every_name_of_this_machine_is_served(host):
    with (
        served({"index.html": b"x"}) as address,
        closing(http.client.HTTPConnection(urlsplit(address).netloc)) as client,
    ):
        client.request("GET", "/", headers={"Host": host})
        assert client.getresponse().read() == b"x"


def test_the_policy_lets_in_the_scripts_of_the_page_and_no_others(ask):
    for path in ("/", "/missing"):
        headers = ask(path)[1]
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
        assert headers["X-Content-Type-Options"] == "nosniff"
    inline = content_security_policy({"a.html": b"<script type='importmap'>{}</script><script src='b.js'></script>"})
    assert inline.count("'sha256-") == 1 and "'unsafe-inline'" not in inline
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert f"'sha256-{digest}'" in inline


def test_a_silent_connection_is_closed_and_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(server, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    with served({"index.html": b"x"}) as address:
        place = urlsplit(address)
        silent = [socket.create_connection((place.hostname, place.port), timeout=5) for _ in range(3)]
        assert [connection.recv(1) for connection in silent] == [b"", b"", b""]
        for connection in silent:
            connection.close()
        with closing(http.client.HTTPConnection(place.netloc)) as client:
            client.request("GET", "/")
            assert client.getresponse().read() == b"x"


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "", "::1", "::"])
def test_what_is_printed_can_be_opened(host):
    if ":" in host and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with make_server({"index.html": b"hello"}, host=host, port=0) as running:
        thread = threading.Thread(target=running.handle_request)
        thread.start()
        with urlopen(address_of(host, running.server_port), timeout=10) as page:
            assert page.read() == b"hello"
        thread.join()


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "http://127.0.0.1:8/"), ("::", "http://[::1]:8/"), ("pi", "http://pi:8/")]
)
def test_an_address_names_this_machine(host, address):
    assert address_of(host, 8) == address
