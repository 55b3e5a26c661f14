# SPDX-License-Identifier: MIT
"""The program that waits for a start, fails a wrong one, and kills a server that hangs."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service import supervise
from plugins.module_utils.service.supervise import answers, before, check_start, due, restart_wait, updated, watch
from tests import llama_server

EVEN: Any = {
    "nodes": {"0": 10**9, "1": 10**9},
    "bytes": 2 * 10**9,
    "huge_bytes": 0,
    "pool_bytes": 0,
    "swapped_bytes": 0,
    "policies": {"interleave:0-1": 2 * 10**9},
}
UNEVEN: Any = {**EVEN, "nodes": {"0": 2 * 10**9, "1": 0}}


class Server:
    """A server on loopback that answers /health with the statuses it was given, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        queue = list(statuses)
        asked, given = self.asked, self.bodies

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                length = int(self.headers.get("Content-Length") or 0)
                given.append(self.rfile.read(length))
                health = self.path == "/health"
                body: dict[str, Any] = {
                    "usage": {"completion_tokens": 8, "prompt_tokens": 2},
                    "choices": [{"text": "there was"}],
                }
                self.send_response((queue.pop(0) if len(queue) > 1 else queue[0]) if health else 200)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield child
        child.kill()


def intent(server: Server, **changes: Any) -> Any:
    return llama_server.intent(server.url) | changes


def start(server: Server, pid: int, found: Any = EVEN, **changes: Any) -> str | None:
    return check_start(intent(server, **changes), pid, "key", lambda _seconds: None, lambda _pid: found)


def test_a_start_waits_until_the_model_is_loaded(process: subprocess.Popen[bytes]) -> None:
    server = Server(503, 503, 200)
    assert start(server, process.pid) is None
    assert server.asked == ["GET /health"] * 3


def test_a_wrong_placement_fails_the_start(process: subprocess.Popen[bytes]) -> None:
    assert "200.0% apart" in str(start(Server(200), process.pid, UNEVEN))


def test_a_server_that_ends_while_it_loads_fails_the_start(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert "ended while it loaded its model" in str(start(Server(503), process.pid))


def test_a_server_that_ended_and_was_not_reaped_does_not_run(process: subprocess.Popen[bytes]) -> None:
    assert supervise.alive(process.pid)
    process.kill()
    deadline = time.monotonic() + 10
    while supervise.alive(process.pid):  # a zombie until Popen waits for it
        assert time.monotonic() < deadline


def test_distribute_generates_before_the_placement_is_read(process: subprocess.Popen[bytes]) -> None:
    server = Server(200)
    assert start(server, process.pid, warm_up_tokens=8) is None
    assert server.asked == ["GET /health", "POST /completion"]
    body = json.loads(server.bodies[-1])
    assert (len(body["prompt"]), body["n_predict"]) == (1, 8)


def test_a_server_that_loads_answers() -> None:
    assert answers(Server(503).url)


def test_a_hanging_server_is_killed(
    process: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(supervise, "ATTEMPTS", 1)
    server = Server(200)
    server.http.shutdown()  # connections are still accepted by the kernel, as for a stopped process
    problem = watch(intent(server), process.pid, tmp_path / "main.json")
    assert "gave no answer on /health" in str(problem)
    assert process.wait(10) == -9


def test_drift_is_recorded_with_the_time_since_when(
    process: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "read_process", lambda _pid: UNEVEN)
    path = tmp_path / "main.json"
    problem = watch(intent(Server(200)), process.pid, path)
    record = json.loads(path.read_text())
    assert record["problem"] == problem
    assert "200.0% apart" in str(problem)
    assert [entry["problem"] for entry in record["history"]] == [problem]
    # Within the hour the page tables are left alone, and the problem stays told.
    monkeypatch.setattr(supervise, "read_process", lambda _pid: EVEN)
    assert watch(intent(Server(200)), process.pid, path) == problem


def test_history_has_changes_only_and_an_end() -> None:
    record: Any = None
    for hour in range(3):
        record = updated(record, 7, EVEN, None, hour * 3600)
    assert [entry["since"] for entry in record["history"]] == ["1970-01-01T00:00:00Z"]
    for hour in range(100):
        record = updated(record, 7, EVEN, f"problem {hour}", hour * 3600)
    assert len(record["history"]) == 20


def test_the_placement_is_read_again_of_another_process_and_after_an_hour() -> None:
    record = updated(None, 7, EVEN, None, 0)
    assert not due(record, 7, 3599)
    assert due(record, 7, 3600)
    assert due(record, 8, 1)


def test_automatic_restarts_wait_longer_each_time_and_end() -> None:
    waits = [restart_wait([0.0] * count, 1.0) for count in range(12)]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, None, None]
    assert restart_wait([0.0] * 12, 24 * 3600) == 5


def test_a_start_by_hand_does_not_wait_and_forgets_the_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    restarts = iter(["1", "2", "0", "1"])
    monkeypatch.setattr(supervise, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(supervise, "show", lambda *_names: {"NRestarts": next(restarts)})
    for _start in range(4):
        assert before("main", waited.append) is None
    assert waited == [5, 10, 5]


def test_after_ten_crashes_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "RUNTIME", tmp_path)
    monkeypatch.setattr(supervise, "show", lambda *_names: {"NRestarts": "11"})
    (tmp_path / "main.restarts").write_text(" ".join([str(time.time())] * 10))
    assert "journalctl -u llama-server@main" in str(before("main"))
