"""A small local Hub: the part of its file protocol that the client uses, and the faults of real networks."""

import base64
import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_FILE_SUFFIXES = (".safetensors", ".png")  # such files are on another host, by their SHA-256, as on the real Hub


@dataclass
class Hub:
    """Repositories by `kind/owner/name`, a dictionary of files for each commit, and the faults to come."""

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    refs: dict[str, dict[str, str]] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    # What happens to the next requests whose path contains the key: a status, "cut", "short" or "wrong".
    faults: dict[str, list[int | str]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    moved: dict[str, str] = field(default_factory=dict)  # owner/old to owner/new
    requests: list[str] = field(default_factory=list)  # method and path

    def put(self, repo: str, files: dict[str, bytes], branch: str = "main", kind: str = "models") -> str:
        """Commit files to a branch; returns the commit."""
        repo = f"{kind}/{repo}"
        before = self.repos.get(repo, {}).get(self.refs.get(repo, {}).get(branch, ""), {})
        commit = sha1(repr((repo, len(self.repos.get(repo, {})))).encode()).hexdigest()
        self.repos.setdefault(repo, {})[commit] = before | files
        self.refs.setdefault(repo, {})[branch] = commit
        return commit

    def files(self, repo: str, kind: str = "models") -> dict[str, bytes]:
        repo = f"{kind}/{repo}"
        return self.repos[repo][self.refs[repo]["main"]]

    def download_counts(self) -> Counter[str]:
        """How often the contents of a file were requested."""
        return Counter(line.rsplit("/", 1)[1] for line in self.requests if re.match("GET .*/(resolve|cdn)/", line))


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self._fault(path)
        if old := next((name for name in self.hub.moved if f"/{name}" in self.path), None):
            return self._send(307, b"", {"Location": self.path.replace(old, self.hub.moved[old])})
        if isinstance(fault, int):
            return self._send(fault, b"{}", {"X-Error-Message": "a fault of the server"})
        for pattern, answer in ROUTES.items():
            method, pattern = pattern.split()
            if (self.command == method or (method, self.command) == ("GET", "HEAD")) and (
                match := re.fullmatch(pattern, path)
            ):
                return answer(self, *match.groups(), body=body, fault=fault)
        self._send(404, b"no such route")

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _fault(self, path: str) -> int | str | None:
        for part, faults in self.hub.faults.items():
            if part in path and faults and (self.command != "HEAD" or isinstance(faults[0], int)):
                return faults.pop(0)
        return None

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: object = None) -> None:
        sent = {"short": body[:-100], "wrong": body[:-1] + b"?"}.get(fault, body)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(sent))} | (headers or {})).items():
            self.send_header(name, value)
        if fault == "cut":
            self.send_header("Connection", "close")
            self.close_connection = True
            sent = sent[: len(sent) // 2]
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    def _json(self, answer: object) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code})

    def _commit(self, repo: str, revision: str) -> str | None:
        """The commit of a revision; if there is none, the error is sent."""
        if repo not in self.hub.repos:
            return self._refuse(401, "RepoNotFound")
        if repo in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        commit = self.hub.refs[repo].get(revision, revision)
        if commit not in self.hub.repos[repo]:
            return self._refuse(404, "RevisionNotFound")
        return commit

    def info(self, kind, name, revision, **_) -> None:
        if commit := self._commit(f"{kind}/{name}", revision or "main"):
            self._json({"id": name, "sha": commit, "private": False, "siblings": [], "tags": [], "downloads": 0})

    def tree(self, kind, name, revision, **_) -> None:
        if commit := self._commit(f"{kind}/{name}", revision):
            self._json([_file_entry(*file) for file in self.hub.repos[f"{kind}/{name}"][commit].items()])

    def paths_info(self, kind, name, revision, body, **_) -> None:
        if commit := self._commit(f"{kind}/{name}", revision):
            files = self.hub.repos[f"{kind}/{name}"][commit]
            self._json([_file_entry(path, files[path]) for path in parse_qs(body.decode())["paths"] if path in files])

    def resolve(self, name, revision, path, fault, **_) -> None:
        if not (commit := self._commit(f"models/{name}", revision)):
            return
        data = self.hub.repos[f"models/{name}"][commit].get(path)
        if data is None:
            return self._refuse(404, "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_git_hash(data)}"'}
        if not path.endswith(LARGE_FILE_SUFFIXES):
            return self._body(data, headers, fault)
        digest = sha256(data).hexdigest()
        self.hub.large_files[digest] = data
        # The large files are on another host, which is another name of this machine here.
        location = f"{self.hub.url.replace('127.0.0.1', 'localhost')}/cdn/{digest}/{path}"
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "Location": location}
        self._send(302, b"", headers)

    def cdn(self, digest, _, fault, **__) -> None:
        self._body(self.hub.large_files[digest], {"ETag": f'"{digest}"'}, fault)

    def _body(self, data: bytes, headers: dict[str, str], fault: object) -> None:
        """Send contents, from the byte at which the requested range starts."""
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if not start:
            return self._send(200, data, headers, fault)
        headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self._send(206, data[start:], headers, fault)

    def create(self, body, **_) -> None:
        request = json.loads(body)
        name, kind = f"{request['organization']}/{request['name']}", request.get("type", "model") + "s"
        self.hub.put(name, {}, kind=kind)
        self._json({"url": f"{self.hub.url}/{'' if kind == 'models' else kind + '/'}{name}"})

    def valid(self, **_) -> None:
        self._json({"errors": [], "warnings": []})

    def preupload(self, *_, body, **__) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE_FILE_SUFFIXES) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def batch(self, *_, body, **__) -> None:
        def with_upload(item: dict) -> dict:
            if item["oid"] in self.hub.large_files:
                return item
            return item | {"actions": {"upload": {"href": f"{self.hub.url}/upload/{item['oid']}", "header": {}}}}

        self._json({"transfer": "basic", "objects": [with_upload(item) for item in json.loads(body)["objects"]]})

    def upload(self, digest, body, **_) -> None:
        if sha256(body).hexdigest() != digest:
            return self._send(422, b"{}")
        self.hub.large_files[digest] = body
        self._send(200, b"")

    def commit(self, kind, name, _, body, **__) -> None:
        files = {}
        for line in body.decode().splitlines():
            value = json.loads(line)["value"]
            if "oid" in value:
                files[value["path"]] = self.hub.large_files[value["oid"]]
            elif "content" in value:
                files[value["path"]] = base64.b64decode(value["content"])
        commit = self.hub.put(name, files, kind=kind)
        self._json({"commitUrl": f"{self.hub.url}/{name}/commit/{commit}", "commitOid": commit, "success": True})


ID = "([^/]+/[^/]+)"
ROUTES = {
    f"GET /api/(models|spaces)/{ID}(?:/revision/([^/]+))?": _Handler.info,
    f"GET /api/(models|spaces)/{ID}/tree/([^/]+)": _Handler.tree,
    f"POST /api/(models|spaces)/{ID}/paths-info/([^/]+)": _Handler.paths_info,
    f"GET /{ID}/resolve/([^/]+)/(.+)": _Handler.resolve,
    "GET /cdn/([^/]+)/(.+)": _Handler.cdn,
    "POST /api/repos/create": _Handler.create,
    "POST /api/validate-yaml": _Handler.valid,
    f"POST /api/(?:models|spaces)/{ID}/preupload/([^/]+)": _Handler.preupload,
    rf"POST /(?:spaces/)?{ID}\.git/info/lfs/objects/batch": _Handler.batch,
    "PUT /upload/([^/]+)": _Handler.upload,
    f"POST /api/(models|spaces)/{ID}/commit/([^/]+)": _Handler.commit,
}


def _git_hash(data: bytes) -> str:
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _file_entry(path: str, data: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _git_hash(data)}
    if path.endswith(LARGE_FILE_SUFFIXES):
        entry["lfs"] = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
