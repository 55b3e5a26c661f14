# SPDX-License-Identifier: MIT
"""A real llama-server on this machine, started as a plan says, and how much memory it has."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CACHE = Path(os.environ.get("LLAMATOWER_CACHE") or Path.home() / ".cache/llamatower")
# Where containers and virtual towers leave what they built.
ARCHIVES = ("towers/containers/transfer/*.tar", "builds/archives/*.tar")


def unpack(place: Path) -> Path:
    """The newest build of the other tests, unpacked; its directory of binaries."""
    found = [path for pattern in ARCHIVES for path in CACHE.glob(pattern)]
    assert found, f"No build is below {CACHE}: the tests of containers or of virtual towers make one."
    with tarfile.open(max(found, key=lambda path: path.stat().st_mtime)) as archive:
        archive.extractall(place, filter="data")
    return place / "bin"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Engine:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def complete(self, tokens: list[int], count: int = 1) -> list[int]:
        """The tokens that it goes on with."""
        body = {"prompt": tokens, "n_predict": count, "ignore_eos": True, "return_tokens": True, "temperature": 0}
        answer: list[int] = self.ask("/completion", body)["tokens"]
        return answer

    def peak_bytes(self) -> int:
        """The most memory that it had until now, all of it."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    def told(self) -> str:
        """The sizes that its log tells."""
        return "\n".join(line for line in self.log.read_text().splitlines() if " MiB" in line)


@contextmanager
def running(server: Path, environment: dict[str, str], options: list[str], log: Path) -> Iterator[Engine]:
    """Start it, wait until it is ready, and end it."""
    port = int(environment["LLAMA_ARG_PORT"])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [server, *options, "-v"],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    engine = Engine(process, port, log)
    try:
        until = time.monotonic() + 60
        while True:
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
            try:
                engine.ask("/health")
                break
            except OSError:
                time.sleep(0.05)
        yield engine
    finally:
        process.kill()
        process.wait()
