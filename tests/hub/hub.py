#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A hub on the loopback that speaks the Hugging Face protocol to the real client, and misbehaves on demand.

    python3 tests/hub/hub.py --root DIR [--port N] [--fault KIND,NAME=VALUE,…]…

DIR/<org>/<repo>/<files> are its model repositories; what they hold now is revision ``main`` and a commit,
whose hash changes with them. It prints its URL, and serves until it is stopped. Two origins are served, as
on the real hub: the hub itself, and a "CDN" with signed URLs to which large files are redirected. There is
no Xet storage. Bytes that are counted as sent may wait in a buffer of the kernel, which is kept small.

Faults, each with ``match=`` (a pattern for ``org/repo/path``, or ``org/repo`` where no file is asked for;
default all) and ``count=`` (how often, default always):

    drop,at=N          close the connection after N bytes of every transfer from the CDN; with reset=1 as a link that
                       is lost does it: what was not delivered yet is lost
    wrong,at=N         flip the byte at N of the file
    swap,with=NAME     send another file of the repository in its place
    truncate,at=N      send a file of N bytes as if it were whole
    lie,by=N           tell a size that is N bytes too large
    status,code=C      answer the CDN's requests with C; with retry_after=S where it is said when to retry,
                       and in the control with further headers
    status,code=C,on=hub   the same for the hub's own requests
    gated              deny the files without a token (401) or with one that is not --token (403)
    slow,rate=N        send N bytes a second of each transfer
    norange            send the whole file, whatever is asked for
    expired            give URLs whose signature has expired; with count=, later ones are good

Control, for tests in another process: GET /_hub/log, DELETE /_hub/log, PUT /_hub/faults (a JSON list).
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import hashlib
import hmac
import json
import os
import re
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

# Files that a real repository keeps in Git LFS; others are small and served by the hub itself.
LARGE = (".gguf", ".safetensors", ".bin")
CHUNK = 1 << 15
# On the loopback the kernel would buffer megabytes, which count as sent although whoever asked for them is gone.
BUFFER = 1 << 16
KEY = b"signs the URLs of the test CDN"
# The faults, and the setting that each needs.
FAULTS = {
    "drop": "at", "wrong": "at", "swap": "with", "truncate": "at", "lie": "by", "status": "code", "gated": "",
    "slow": "rate", "norange": "", "expired": "",
}  # fmt: skip
OPTIONS = {"kind", "match", "count", "on", "retry_after", "headers", "reset"}


class HubError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **headers}
        if code:
            self.headers["X-Error-Code"] = code


class File:
    """A file of a repository, as the protocol describes it."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self.size = path.stat().st_size
        self.large = name.endswith(LARGE)
        sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {self.size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
                git.update(block)
        self.sha256 = sha256.hexdigest()
        # Git has a pointer where the content is in LFS.
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()
        self.pointer_size = len(pointer)
        if self.large:
            git = hashlib.sha1(f"blob {len(pointer)}\0".encode() + pointer)
        self.oid = git.hexdigest()

    def tree_entry(self, lie: int) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size + lie, "path": self.name}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": self.size + lie, "pointerSize": self.pointer_size}
        return entry

    def sibling(self, lie: int) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": self.name, "blobId": self.oid, "size": self.size + lie}
        if self.large:
            entry["lfs"] = {"sha256": self.sha256, "size": self.size + lie, "pointerSize": self.pointer_size}
        return entry


class Hub:
    """The two servers. A context manager: ``with Hub(root) as hub: … hub.url …``."""

    def __init__(
        self, root: str | os.PathLike[str], port: int = 0, faults: list[dict[str, Any]] | None = None, token: str = ""
    ) -> None:
        self.root = Path(root).resolve(strict=True)
        self.faults = faults or []
        self.token = token
        self.log: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self._known: dict[tuple[str, int, int], File] = {}
        self._hub = Server(("127.0.0.1", port), HubHandler, self)
        self._cdn = Server(("127.0.0.1", 0), CdnHandler, self)
        self.url = f"http://127.0.0.1:{self._hub.server_port}"
        self.cdn_port = self._cdn.server_port

    def __enter__(self) -> Hub:
        for server in (self._hub, self._cdn):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()

    @property
    def faults(self) -> list[dict[str, Any]]:
        return self._faults

    @faults.setter
    def faults(self, faults: list[dict[str, Any]]) -> None:
        """A fault that nothing shows would let every test pass. Copies are kept, since they are counted down."""
        for fault in faults:
            kind = fault.get("kind")
            if kind not in FAULTS or set(fault) - OPTIONS != {FAULTS[kind]} - {""}:
                raise ValueError(f"{fault} is no fault; see the list in {Path(__file__).name}.")
        self._faults = [dict(fault) for fault in faults]

    def bytes_sent(self) -> dict[str, int]:
        """Bytes of each file that were sent, by ``org/repo/path``."""
        total: Counter[str] = Counter()
        with self.lock:
            for entry in self.log:
                if entry["file"]:
                    total[entry["file"]] += entry["bytes"]
        return dict(total)

    def fault(self, kind: str, name: str, **wanted: str) -> dict[str, Any] | None:
        """The first fault of the kind for a file, counted down where it has a count."""
        with self.lock:
            for fault in self.faults:
                if fault["kind"] != kind or not fnmatch.fnmatch(name, str(fault.get("match", "*"))):
                    continue
                if any(str(fault.get(key, "cdn")) != value for key, value in wanted.items()):
                    continue
                if "count" in fault:
                    if int(fault["count"]) <= 0:
                        continue
                    fault["count"] = int(fault["count"]) - 1
                return fault
        return None

    def files(self, repo: str) -> dict[str, File]:
        """The files of a repository by name."""
        directory = self.root / repo
        if repo.count("/") != 1 or ".." in repo or not directory.is_dir():
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        found = {}
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            name = path.relative_to(directory).as_posix()
            state = path.stat()
            key = (str(path), state.st_size, state.st_mtime_ns)
            with self.lock:
                if key not in self._known:
                    self._known[key] = File(path, name)
                found[name] = self._known[key]
        return found

    @staticmethod
    def commit(files: dict[str, File]) -> str:
        """The commit: a digest of all names and contents."""
        return hashlib.sha1("\n".join(f"{name} {file.sha256}" for name, file in files.items()).encode()).hexdigest()

    def signature(self, path: str, expires: str) -> str:
        return hmac.new(KEY, f"{path} {expires}".encode(), "sha256").hexdigest()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], hub: Hub) -> None:
        super().__init__(address, handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    """What both origins have in common: one log entry for each request, and errors as the real hub says them."""

    protocol_version = "HTTP/1.1"
    server: Server
    origin = ""

    def setup(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        super().setup()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing: the log is for this."""

    def handle_request(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        self.hub = self.server.hub
        self.parts = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        self.query = dict(urllib.parse.parse_qsl(url.query))
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.entry: dict[str, Any] = {
            "origin": self.origin, "method": self.command, "path": url.path, "range": self.headers.get("Range"),
            "authorized": "Authorization" in self.headers, "status": 0, "file": "", "bytes": 0,
        }  # fmt: skip
        if self.parts[0] != "_hub":
            with self.hub.lock:
                self.hub.log.append(self.entry)
        try:
            self.respond(url.path)
        except HubError as fail:
            self.send(fail.status, json.dumps({"error": str(fail)}).encode(), **fail.headers)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def respond(self, path: str) -> None:
        raise NotImplementedError

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A short answer. Keyword names are header names with _ for -."""
        self.entry["status"] = status
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, document: Any) -> None:
        self.send(200, json.dumps(document).encode(), Content_Type="application/json")

    def fail_on_demand(self, name: str) -> None:
        fault = self.hub.fault("status", name, on=self.origin)
        if fault:
            headers = dict(fault.get("headers", {}))
            if "retry_after" in fault:
                headers["Retry_After"] = str(fault["retry_after"])
            raise HubError(int(fault["code"]), "An error on demand.", **headers)

    def send_file(self, file: File, name: str, **headers: str) -> None:
        """Send a file or the range that is asked for, with its faults."""
        hub = self.hub
        self.entry["file"] = name
        cut = hub.fault("truncate", name) if file.large else None
        size = int(cut["at"]) if cut else file.size
        start, end = 0, size
        # As HTTP has it, what is not one range of bytes is ignored.
        ranges = "" if hub.fault("norange", name) else self.headers.get("Range", "")
        asked = re.fullmatch(r"bytes=(?=.*\d)(\d*)-(\d*)", ranges)
        if asked:
            first, last = asked.groups()
            start = int(first) if first else max(0, size - int(last))
            end = min(int(last) + 1, size) if first and last else size
            if start >= end:
                return self.send(416, Content_Range=f"bytes */{size}")
            headers["Content_Range"] = f"bytes {start}-{end - 1}/{size}"
        self.entry["status"] = 206 if asked else 200
        self.send_response(self.entry["status"])
        for key, value in {"Content_Length": str(end - start), "Accept_Ranges": "bytes", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        wrong = hub.fault("wrong", name) if file.large else None
        drop = hub.fault("drop", name) if file.large else None
        slow = hub.fault("slow", name) if file.large else None
        allowed = int(drop["at"]) if drop else end - start
        began = time.monotonic()
        with file.path.open("rb") as source:
            source.seek(start)
            while start < end:
                if self.entry["bytes"] >= allowed:
                    self.close_connection = True
                    if drop and "reset" in drop:
                        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.request.close()
                    return None
                block = bytearray(source.read(min(CHUNK, end - start, allowed - self.entry["bytes"])))
                if wrong and start <= int(wrong["at"]) < start + len(block):
                    block[int(wrong["at"]) - start] ^= 1
                # Counted first: who has received the last byte may ask for the log at once.
                self.entry["bytes"] += len(block)
                self.wfile.write(block)
                start += len(block)
                if slow:
                    time.sleep(max(0.0, began + self.entry["bytes"] / float(slow["rate"]) - time.monotonic()))
        return None


class HubHandler(Handler):
    """huggingface.co"""

    origin = "hub"

    def respond(self, path: str) -> None:
        parts = self.parts
        if parts[0] == "_hub":
            return self.control(path)
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self.api("/".join(parts[2:4]), *(parts[4:] or ["revision", "main"]))
        if len(parts) > 4 and parts[2] == "resolve":
            return self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        raise HubError(404, "Sorry, we can't find the page you are looking for.")

    def control(self, path: str) -> None:
        hub = self.hub
        match self.command, path:
            case "GET", "/_hub/log":
                pass
            case "DELETE", "/_hub/log":
                with hub.lock:
                    hub.log.clear()
            case "PUT", "/_hub/faults":
                try:
                    hub.faults = json.loads(self.body)
                except ValueError as error:
                    raise HubError(400, str(error)) from None
            case _:
                raise HubError(404, "Control is GET or DELETE /_hub/log, or PUT /_hub/faults.")
        self.send_json({"requests": hub.log, "bytes_sent": hub.bytes_sent(), "faults": hub.faults})

    def open_repo(self, repo: str, revision: str, name: str = "") -> tuple[dict[str, File], str]:
        self.fail_on_demand(f"{repo}/{name}" if name else repo)
        files = self.hub.files(repo)
        commit = self.hub.commit(files)
        if revision not in ("main", commit):
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return files, commit

    def api(self, repo: str, what: str, revision: str = "main", *rest: str) -> None:
        files, commit = self.open_repo(repo, revision)
        fault = self.hub.fault
        lies = {name: int((fault("lie", f"{repo}/{name}") or {"by": 0})["by"]) for name in files}
        if what == "revision":
            gated = any(entry["kind"] == "gated" for entry in self.hub.faults)
            blobs = self.query.get("blobs", "").lower() in ("true", "1")
            self.send_json(
                {
                    "_id": commit[:24], "id": repo, "modelId": repo, "author": repo.partition("/")[0], "sha": commit,
                    "private": False, "gated": "manual" if gated else False, "disabled": False, "tags": ["gguf"],
                    "createdAt": "2026-01-01T00:00:00.000Z", "lastModified": "2026-01-01T00:00:00.000Z",
                    "siblings": [
                        file.sibling(lies[name]) if blobs else {"rfilename": name} for name, file in files.items()
                    ],
                }
            )  # fmt: skip
        elif what == "tree":
            below = "".join(f"{part}/" for part in rest)
            inside = [name for name in files if name.startswith(below)]
            if below and not inside:
                raise HubError(404, f"{below} does not exist on this revision", "EntryNotFound")
            deep = self.query.get("recursive", "").lower() in ("true", "1")
            # As Git has none, directories are what is before a slash.
            ends = {name: [at for at in range(len(below), len(name)) if name[at] == "/"] for name in inside}
            directories = sorted({name[:at] for name in inside for at in (ends[name] if deep else ends[name][:1])})
            self.send_json(
                [
                    {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
                    for path in directories
                ]
                + [files[name].tree_entry(lies[name]) for name in inside if deep or not ends[name]]
            )
        elif what == "paths-info":
            if self.headers.get("Content-Type", "").startswith("application/json"):
                wanted = json.loads(self.body)["paths"]
            else:
                wanted = urllib.parse.parse_qs(self.body.decode()).get("paths", [])
            self.send_json([files[name].tree_entry(lies[name]) for name in wanted if name in files])
        else:
            raise HubError(404, "Not found")

    def resolve(self, repo: str, revision: str, name: str) -> None:
        files, commit = self.open_repo(repo, revision, name)
        full = f"{repo}/{name}"
        if name not in files:
            raise HubError(404, "Entry not found", "EntryNotFound", X_Repo_Commit=commit)
        file = files[name]
        self.entry["file"] = full
        if self.hub.fault("gated", full):
            given = self.headers.get("Authorization", "")
            if not given:
                raise HubError(401, f"Access to model {repo} is restricted. Please log in.", "GatedRepo")
            if given != f"Bearer {self.hub.token}":
                raise HubError(
                    403, f"Access to model {repo} is restricted and you are not in the authorized list.", "GatedRepo"
                )
        if not file.large:
            return self.send_file(file, full, ETag=f'"{file.oid}"', X_Repo_Commit=commit)
        lie = int((self.hub.fault("lie", full) or {"by": 0})["by"])
        path = f"/{file.sha256}/{urllib.parse.quote(full)}"
        expires = str(int(time.time()) + (-60 if self.hub.fault("expired", full) else 3600))
        host = self.headers["Host"].rsplit(":", 1)[0]
        signed = f"Expires={expires}&Signature={self.hub.signature(path, expires)}"
        return self.send(
            302, Location=f"http://{host}:{self.hub.cdn_port}{path}?{signed}", X_Repo_Commit=commit,
            X_Linked_Etag=f'"{file.sha256}"', X_Linked_Size=str(file.size + lie), Accept_Ranges="bytes",
        )  # fmt: skip


class CdnHandler(Handler):
    """Where the hub redirects large files to. It knows no token, only signed URLs."""

    origin = "cdn"

    def respond(self, path: str) -> None:
        expires = self.query.get("Expires", "0")
        if not hmac.compare_digest(self.query.get("Signature", ""), self.hub.signature(path, expires)):
            raise HubError(403, "AccessDenied")
        if int(expires) < time.time():
            raise HubError(403, "Request has expired")
        repo, name = "/".join(self.parts[1:3]), "/".join(self.parts[3:])
        full = f"{repo}/{name}"
        self.entry["file"] = full
        self.fail_on_demand(full)
        files = self.hub.files(repo)
        file = files.get(name)
        if not file or file.sha256 != self.parts[0]:
            raise HubError(404, "NoSuchKey")
        swap = self.hub.fault("swap", full)
        file = files[swap["with"]] if swap else file
        self.send_file(file, full, ETag=f'"{file.sha256}"', Content_Type="application/octet-stream")


def parse_fault(text: str) -> dict[str, Any]:
    """``drop,at=5,match=*.gguf`` as a dictionary."""
    kind, *settings = text.split(",")
    return {"kind": kind, **dict(setting.split("=", 1) for setting in settings)}


def main() -> None:
    parser = argparse.ArgumentParser(description="A Hugging Face hub on the loopback, for tests.")
    parser.add_argument("--root", required=True, help="directory of <org>/<repo>/<files>")
    parser.add_argument("--port", type=int, default=0, help="port of the hub; by default a free one")
    parser.add_argument(
        "--fault", action="append", default=[], type=parse_fault, help="KIND,NAME=VALUE,…; see the file"
    )
    parser.add_argument("--token", default="", help="the one token that opens gated repositories")
    arguments = parser.parse_args()
    try:
        server = Hub(arguments.root, arguments.port, arguments.fault, arguments.token)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with server as hub:
        print(hub.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
