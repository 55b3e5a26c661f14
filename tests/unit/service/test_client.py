# SPDX-License-Identifier: MIT
"""What llama_server.py makes of the answers of a server."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.client import ServerError, asks_for_key, healthy, read_completion, read_key

ANSWER: dict[str, Any] = {
    "choices": [{"text": " Blue light scatters most. "}],
    "usage": {"completion_tokens": 6, "prompt_tokens": 14},
    "timings": {"predicted_per_second": 12.5, "prompt_per_second": 80.0},
}


def test_text_tokens_and_speeds_are_taken_from_the_answer() -> None:
    assert read_completion(ANSWER) == {
        "text": "Blue light scatters most.",
        "tokens": 6,
        "tokens_per_second": 12.5,
        "prompt_tokens": 14,
        "prompt_tokens_per_second": 80.0,
    }


def test_a_server_that_tells_no_timings_has_no_speed() -> None:
    assert read_completion({key: ANSWER[key] for key in ("choices", "usage")})["tokens_per_second"] is None


def test_another_answer_is_quoted_in_the_error() -> None:
    with pytest.raises(ServerError, match=r"no 'usage'.*something else"):
        read_completion({"error": "something else"})


def test_where_nothing_listens_is_not_healthy() -> None:
    assert healthy("http://127.0.0.1:1") is False


class Server:
    """One that answers every request with this status, and keeps the headers of the last."""

    def __init__(self, status: int) -> None:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked = (self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_arguments: object) -> None:
                pass

        self.asked: tuple[str, str | None] = ("", None)
        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.mark.parametrize(("status", "asks"), [(200, False), (401, True), (404, False), (503, False)])
def test_a_server_asks_for_a_key_where_it_refuses_a_request_without_one(status: int, asks: bool) -> None:
    server = Server(status)
    try:
        assert asks_for_key(server.url) is asks
        assert server.asked == ("/props", None)
    finally:
        server.close()


def test_the_first_key_of_a_file_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "main.keys"
    path.write_text("# ann\n\nkey-of-ann\n# ben\nkey-of-ben\n")
    assert read_key(str(path)) == "key-of-ann"
    path.write_text("#3cret\n")
    assert read_key(str(path)) is read_key(None) is None


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.0 200 OK\r\n\r\n<html>", b"HTTP/1.0 200 OK\r\n\r\n\xc4"]
)
def test_what_is_no_such_server_is_said_to_be_none(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _request in range(2):
                connection, _address = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerError, match=f"What answers at {url}/props is no llama-server: "):
            asks_for_key(url)
        assert not healthy(url, loading=True)
