# SPDX-License-Identifier: MIT
"""What the check of a server says of one that answers without a key."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.modules import llama_server_check
from tests.run_module import run_module

COMPLETION = {"choices": [{"text": "Blue."}], "usage": {"completion_tokens": 2, "prompt_tokens": 3}}


class Handler(http.server.BaseHTTPRequestHandler):
    """A llama-server with the keys of its class: none serves everybody."""

    keys: tuple[str, ...] = ()

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.send_response(200 if not self.keys or given in self.keys else 401)
        self.end_headers()
        self.wfile.write(json.dumps(COMPLETION).encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Handler, "keys", ("key-of-ann", "key-of-ben"))
    monkeypatch.setattr(llama_server_check, "await_start", lambda *_arguments: 1.0)
    monkeypatch.setattr(llama_server_check, "journal", lambda *_arguments: ([], ""))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "main.keys"
    path.write_text("# ann\nkey-of-ann\n# ben\nkey-of-ben\n")
    return path


def check(url: str, **options: Any) -> dict[str, Any]:
    return run_module("llama_server_check", url=url, unit="llama-server@main.service", prompt="Why?", **options)


def test_a_server_that_asks_for_a_key_is_asked_its_question_with_one(url: str, keys: Path) -> None:
    assert check(url, api_key_file=str(keys))["completion"]["text"] == "Blue."


def test_a_server_that_serves_everybody_fails(url: str, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "keys", ())
    answer = check(url, api_key_file=str(keys))
    assert answer["failed"] is True
    assert answer["msg"].startswith("llama-server@main.service answers whoever asks, without an API key: look whether")
    assert "key-of-ann" not in str(answer)


def test_a_server_without_a_file_of_keys_may_serve_everybody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "keys", ())
    assert check(url)["completion"]["text"] == "Blue."
