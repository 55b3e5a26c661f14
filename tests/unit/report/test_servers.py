# SPDX-License-Identifier: MIT
"""How to ask a server: its address, its keys, and a command that needs no more than a bare Debian has."""

from __future__ import annotations

import http.server
import json
import shlex
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.report.servers import use_it
from plugins.module_utils.text import WIDTH

ASKED: list[tuple[str, str | None, Any]] = []


class Server(http.server.BaseHTTPRequestHandler):
    """Answers every question in the same way, and keeps it."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ASKED.append((self.path, self.headers["Authorization"], body))
        answer = json.dumps({"choices": [{"message": {"content": "Rayleigh"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_words: Any) -> None:
        """Be silent."""


def document(url: str, instance: str = "main") -> Any:
    return {"service": {"servers": [{"instance": instance, "url": url}]}}


@pytest.mark.parametrize(
    ("url", "reached"),
    [("http://127.0.0.1:8080", "from the tower alone"), ("https://192.0.2.11:8443", "from the network")],
)
def test_address_and_keys_are_told_and_the_command_fits_a_terminal(url: str, reached: str) -> None:
    use = use_it(document(url))
    assert use
    assert (use["url"], use["reached"]) == (url, reached)
    assert use["keys"] == "/var/lib/llamatower/instances/main/current/keys"
    assert max(map(len, use["command"])) <= WIDTH, use["command"]


@pytest.mark.parametrize("service", [None, {}, {"servers": []}])
def test_where_no_server_is_known_there_is_nothing_to_use(service: Any) -> None:
    nobody: Any = {"service": service}
    assert use_it(nobody) is None


def test_the_command_asks_with_the_first_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# ann\n\ns3cret\nother\n")
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use = use_it(document(f"http://127.0.0.1:{server.server_port}"))
        assert use
        words = shlex.split("\n".join(use["command"]).replace(use["keys"], str(keys)))
        assert words[:3] == ["sudo", "python3", "-c"]
        done = subprocess.run(words[1:], capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
    assert (done.stdout, done.stderr) == ("Rayleigh\n", "")
    ((path, key, body),) = ASKED
    assert (path, key, body["messages"][0]["role"]) == ("/v1/chat/completions", "Bearer s3cret", "user")


def test_nothing_of_an_address_becomes_a_command() -> None:
    use = use_it(document("http://127.0.0.1:80/\"');import os;os.abort()#"))
    assert use
    words = shlex.split("\n".join(use["command"]))
    assert len(words) == 4
    compile(words[3], "command", "exec")
    assert "\\\"');import os" in words[3]
