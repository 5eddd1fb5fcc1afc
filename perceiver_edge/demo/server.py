"""A site in memory and the HTTP server for it: exactly these files, with the headers that WASM threads need."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from perceiver_edge.errors import BadInputError

Site = Mapping[str, bytes | Path]
"""Path below the root, with slashes and without a leading one → content, or the file that holds it."""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
"""Cross-origin isolation: without both, browsers give a page no shared memory, and WASM runs on one thread."""

_TYPES = {
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

    A path that is not in `site` is not found, whatever is on the disk.

    Raises:
        BadInputError: the address cannot be bound.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
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
            for header, value in HEADERS.items():
                self.send_header(header, value)
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal is for what went wrong."""

    try:
        return _Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise BadInputError(
            "The page cannot be served there.", got=error, where=f"{host}:{port}", fix="pass another --port or --host"
        ) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent about a browser that hangs up: it does whenever a page is closed."""
        if not isinstance(sys.exception(), ConnectionError):
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
