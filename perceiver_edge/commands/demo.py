"""python -m perceiver_edge.demo BUNDLE: see a bundle at work in the browser."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from perceiver_edge.commands.cli import Command
from perceiver_edge.errors import EXIT_OK

DESCRIPTION = """\
Serve a page that runs a bundle's models in the browser, with LiteRT.js and ONNX Runtime Web: draw a digit, or drop a
picture. Nothing leaves the browser. The engines are npm packages; where they are missing, the message has the command
that installs them."""


def _add_arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("bundle", type=Path, help="a folder that convert made, such as build/digits")
    p.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for the whole network (default: %(default)s)")
    p.add_argument("--port", type=int, default=8000, help="0 for a free one (default: %(default)s)")
    p.add_argument("--node-modules", type=Path, metavar="DIR", help="where npm put the engines (default: a cache)")
    p.add_argument("--export", type=Path, metavar="FOLDER", help="write the site as files instead of serving it")
    p.add_argument("--no-open", action="store_true", help="do not open the browser")


def _demo(args: argparse.Namespace) -> int:
    from perceiver_edge.bundle.folder import read_bundle
    from perceiver_edge.demo.server import HEADERS, address_of, make_server
    from perceiver_edge.demo.site import demo_site, write_site

    site = demo_site(read_bundle(args.bundle), node_modules=args.node_modules)
    if args.export:
        write_site(site, args.export)
        headers = "\n".join(f"  {header}: {value}" for header, value in HEADERS.items())
        print(f"{args.export}: serve it over HTTPS, with these headers for threads:\n{headers}")
        return EXIT_OK
    host = args.host.strip("[]")  # as an address of IPv6 is written in one of the web
    with make_server(site, host=host, port=args.port) as server:
        address = address_of(host, server.server_port)
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if not args.no_open:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return EXIT_OK


COMMAND = Command("demo", "see a bundle at work in the browser", DESCRIPTION, _add_arguments, _demo)
main = COMMAND.main
