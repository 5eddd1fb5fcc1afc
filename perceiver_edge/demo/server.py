"""A site in memory and the HTTP server for it: exactly these files, with the headers that WASM threads need."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from perceiver_edge.errors import BadInputError

Site = Mapping[str, bytes | Path]
"""Path below the root, with slashes and without a leading one → content, or the file that holds it."""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Cross-origin isolation: without the first two, browsers give a page no shared memory, and WASM runs on one thread."""

_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{inline}; worker-src 'self' blob:; connect-src 'self'; "
    "img-src 'self' blob: data:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and no script but the site's files and the import maps of its pages. WASM has to be compiled,
and the engines start their threads from blobs."""

_INLINE_SCRIPT = re.compile(rb"<script[^>]*>(.+?)</script>", re.DOTALL)

TIMEOUT_S = 30.0
"""A connection that says nothing for so long is closed."""

MOST_CONNECTIONS = 64
"""At once; a page needs a dozen."""

_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]", "::1"}


def content_security_policy(site: Site) -> str:
    """The policy for all pages of a site, with the hashes of the scripts that stand in them."""
    pages = (_content(content) for name, content in site.items() if name.endswith(".html"))
    scripts = {script for page in pages for script in _INLINE_SCRIPT.findall(page)}
    hashes = sorted(base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    return _POLICY.format(inline="".join(f" 'sha256-{digest}'" for digest in hashes))


def _content(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


_TYPES = {
    ".txt": "text/plain; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
}
"""Not the system's table, which a registry can spoil: a script or WASM of another type is refused by browsers."""


def make_server(site: Site, *, host: str, port: int) -> ThreadingHTTPServer:
    """Bound and listening; ``serve_forever()`` runs it. Port 0 takes a free one: see ``server_port``.

    A path that is not in `site` is not found, whatever is on the disk. Where ``host`` is this machine alone, a request
    that names another host is refused: another site's page could have sent it, by a name that leads here.

    Raises:
        BadInputError: the address cannot be bound.
    """

    policy = content_security_policy(site)
    is_local = host in _LOCAL_NAMES

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "perceiver_edge", ""
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            if is_local and _host_name(self.headers.get("Host", "")) not in _LOCAL_NAMES:
                self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
                return
            name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
            if name not in site:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            content = site[name]
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", _TYPES.get(Path(name).suffix, "application/octet-stream"))
                self.send_header("Content-Length", str(size_bytes))
                self.send_header("Cache-Control", "no-cache")
                self.end_headers()
                if with_body:
                    shutil.copyfileobj(file, self.wfile)

        def end_headers(self) -> None:
            for header, value in {**HEADERS, "Content-Security-Policy": policy}.items():
                self.send_header(header, value)
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal is for what went wrong."""

    try:
        return _Server(host, port, Handler)
    except (OSError, OverflowError) as error:
        raise BadInputError(
            "The page cannot be served there.", got=error, where=f"{host}:{port}", fix="pass another --port or --host"
        ) from error


def address_of(host: str, port: int) -> str:
    """What a browser on this machine opens. The addresses that mean all of them are for binding alone."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{here}]:{port}/" if ":" in here else f"http://{here}:{port}/"


def _host_name(host: str) -> str:
    """Of a Host header, without the port."""
    name = host.strip().lower()
    return name[: name.index("]") + 1] if name.startswith("[") and "]" in name else name.partition(":")[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere two programs would share the port

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = BoundedSemaphore(MOST_CONNECTIONS)
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # localhost has two
        super().__init__((address[0], port, *address[2:]), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, unless there are too many: then the connection is closed."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent about a browser that hangs up: it does whenever a page is closed."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The address of the site, served on this machine alone until the block ends."""
    server = make_server(site, host="127.0.0.1", port=0)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
