"""A Hugging Face Hub on this machine: what of its interface `huggingface_hub` asks for to make, fill and fetch a
repository. Files are in memory; commits replace, add and delete them as the requests say.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

SHA = "0" * 40


class Hub:
    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.address = ""


def answer(hub: Hub, method: str, path: str, body: bytes):  # noqa: PLR0911, PLR0912
    """(status, headers, content) of one request."""
    parts = path.strip("/").split("/")
    if path == "/api/whoami-v2":
        return 200, {}, {"name": "user", "type": "user", "auth": {"accessToken": {"role": "write"}}}
    if path == "/api/validate-yaml":
        return 200, {}, {"errors": [], "warnings": []}
    if path == "/api/repos/create":
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'user'}/{asked['name']}"
        if name in hub.repositories:
            return 409, {}, {"error": "exists", "url": f"{hub.address}/{name}"}
        hub.repositories[name] = {}
        return 200, {}, {"url": f"{hub.address}/{name}", "name": name, "id": "1"}
    if parts[0] == "lfs":
        hub.large[parts[1]] = body
        return 200, {"ETag": '"x"'}, b""
    api = parts[:2] == ["api", "models"]
    name = "/".join(parts[2:4] if api else parts[:2]).removesuffix(".git")
    if name not in hub.repositories:
        return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "no such repository"}
    files = hub.repositories[name]
    if api and parts[4:5] == ["preupload"]:
        asked = json.loads(body)["files"]
        modes = [{"path": f["path"], "uploadMode": "lfs" if f["size"] > 10_000 else "regular"} for f in asked]
        return 200, {}, {"files": [{**mode, "shouldIgnore": False} for mode in modes]}
    if parts[-3:] == ["info", "lfs", "objects"] or path.endswith("/objects/batch"):
        objects = [
            {**o, "actions": {"upload": {"href": f"{hub.address}/lfs/{o['oid']}", "header": {}}}}
            for o in json.loads(body)["objects"]
        ]
        return 200, {}, {"transfer": "basic", "objects": objects}
    if api and parts[4:5] == ["commit"]:
        for line in body.splitlines():
            change = json.loads(line)
            value = change["value"]
            if change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
            elif change["key"] == "deletedFile":
                del files[value["path"]]
        return 200, {}, {"commitUrl": f"{hub.address}/{name}/commit/{SHA}", "commitOid": SHA, "pullRequestUrl": None}
    if api and parts[4:5] == ["tree"]:
        tree = [
            {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for n, c in files.items()
        ]
        return 200, {}, tree
    if api:
        siblings = [{"rfilename": file} for file in files]
        return 200, {}, {"id": name, "sha": SHA, "siblings": siblings, "tags": [], "private": False}
    if parts[2] == "resolve" and (file := "/".join(parts[4:])) in files:
        etag = hashlib.sha256(files[file]).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}, files[file]
    return 404, {"X-Error-Code": "EntryNotFound"}, {"error": path}


@contextmanager
def local_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = answer(hub, self.command, unquote(urlsplit(self.path).path), body)
            if not isinstance(content, bytes):
                content, headers = json.dumps(content).encode(), {"Content-Type": "application/json", **headers}
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_HEAD = reply  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
