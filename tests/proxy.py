# SPDX-License-Identifier: MIT
"""A proxy of HTTP and, by CONNECT, of HTTPS, in this process. It knows names that nobody else does."""

from __future__ import annotations

import contextlib
import http.client
import select
import shutil
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SILENCE = 120


class Proxy(ThreadingHTTPServer):
    """``names`` are addresses, with the port where none is asked for, by the names that are; ``asked`` are those that
    were."""

    daemon_threads = True

    def __init__(self, names: dict[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.names = names or {}
        self.asked: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def address(self, place: str) -> tuple[str, int]:
        """Where a name, with a port or without, leads to."""
        name, _, port = place.partition(":")
        self.asked.add(name)
        host, _, usual = self.names.get(name, name).partition(":")
        return host, int(port or usual or 80)


class Forward(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        host, port = self.server.address(url.netloc)
        onward = http.client.HTTPConnection(host, port, timeout=SILENCE)
        headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
        try:
            onward.request(self.command, urllib.parse.urlunsplit(("", "", *url[2:])), headers=headers)
            answer = onward.getresponse()
        except OSError as error:
            self.send_error(502, str(error))
            return
        with contextlib.closing(onward):
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)

    do_HEAD = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        try:
            onward = socket.create_connection(self.server.address(self.path), timeout=SILENCE)
        except OSError as error:
            self.send_error(502, str(error))
            return
        self.send_response(200)
        self.end_headers()
        ends = {self.connection: onward, onward: self.connection}
        with onward, contextlib.suppress(OSError):
            while ready := select.select(list(ends), [], [], SILENCE)[0]:
                for end in ready:
                    block = end.recv(2**16)
                    if not block:
                        return
                    ends[end].sendall(block)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def proxy(names: dict[str, str] | None = None) -> Iterator[Proxy]:
    """A proxy while it is needed."""
    server = Proxy(names)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
