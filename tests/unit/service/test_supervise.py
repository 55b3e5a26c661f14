# SPDX-License-Identifier: MIT
"""The program that waits for a start, fails a wrong one, and kills a server that hangs."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.module_utils.service import supervise
from plugins.module_utils.service.client import healthy
from plugins.module_utils.service.deployment import Instance
from plugins.module_utils.service.settings import CLIENT_SECONDS
from plugins.module_utils.service.supervise import (
    answers,
    check_health,
    check_placement,
    check_start,
    due,
    restart_wait,
    updated,
    wait_before,
)
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


# What a server is to its check, without a model. After so many connections it has no descriptors for more.
PROGRAM = """
import resource, socket, sys, threading
descriptors, computes = int(sys.argv[1]), sys.argv[2] == "computes"
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
listener = socket.create_server(("127.0.0.1", 0), backlog=2000)
def serve():
    unfinished = []
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            threading.Event().wait()
        if b"\\r\\n\\r\\n" in connection.recv(4096):
            connection.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\n{}")
            connection.close()
        else:
            unfinished.append(connection)
threading.Thread(target=serve, daemon=True).start()
print(listener.getsockname()[1], flush=True)
while computes:
    pass
threading.Event().wait()
"""


class Program:
    """Such a server, as a process."""

    def __init__(self, descriptors: int, work: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(descriptors), work]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self.pid = self.process.pid

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def state(self) -> str:
        return supervise.stat_fields(self.pid)[0]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], Program]]:
    """Servers, which are asked for half a second only."""
    monkeypatch.setattr(supervise, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(supervise, "ATTEMPTS", 1)
    programs: list[Program] = []

    def start(descriptors: int, work: str) -> Program:
        programs.append(Program(descriptors, work))
        return programs[-1]

    yield start
    for each in programs:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def half_open() -> Iterator[Callable[[int, int], None]]:
    """Opens so many connections to a port, each with half a request."""
    with contextlib.ExitStack() as stack:

        def connect(port: int, count: int) -> None:
            for _number in range(count):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
                connection.sendall(b"GET /health HTTP/1.1\r\nX")

        yield connect


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def intent(server: Server, **changes: Any) -> Any:
    return llama_server.intent(server.url) | changes


def start(server: Server, pid: int, found: Any = EVEN, **changes: Any) -> str | None:
    return check_start(intent(server, **changes), pid, "key", lambda _seconds: None, lambda _pid: found)


def test_a_start_waits_until_the_model_is_loaded(process: subprocess.Popen[bytes]) -> None:
    server = Server(503, 503, 200)
    assert start(server, process.pid) is None
    assert server.asked == ["GET /health"] * 3


def test_a_wrong_placement_fails_the_start(process: subprocess.Popen[bytes]) -> None:
    assert "200.0% apart" in str(start(Server(200), process.pid, UNEVEN, placement_failure="fail"))


def test_a_wrong_placement_is_a_warning_where_a_setting_says_so(
    process: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(Server(200), process.pid, UNEVEN, placement_failure="warn") is None
    (said,) = capsys.readouterr().err.splitlines()
    assert "200.0% apart" in said
    assert "serves all the same" in said


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


def test_a_server_that_neither_answers_nor_computes_is_killed(program: Callable[[int, str], Program]) -> None:
    server = program(4, "stands")  # which are its own: none is left for a connection
    assert "stands still: killed" in str(check_health(server.url, server.pid))
    assert server.process.wait(10) == -9


def test_a_stopped_server_is_killed_whatever_it_was_doing(program: Callable[[int, str], Program]) -> None:
    server = program(64, "computes")
    assert check_health(server.url, server.pid) is None
    server.process.send_signal(signal.SIGSTOP)
    until(lambda: server.state() == "T")
    assert "stands still: killed" in str(check_health(server.url, server.pid))
    assert server.process.wait(10) == -9


def test_a_server_that_computes_is_left_alone_however_many_clients_keep_it_from_answering(
    program: Callable[[int, str], Program], half_open: Callable[[int, int], None]
) -> None:
    server = program(64, "computes")
    half_open(server.port, 1200)
    until(lambda: server.descriptors() == 64)
    assert "is left alone" in str(check_health(server.url, server.pid))
    assert server.process.poll() is None


def test_what_is_no_http_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"not HTTP\r\n\r\n")

        threading.Thread(target=talk, daemon=True).start()
        assert not healthy(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_server_that_ended_is_not_killed_but_told(
    program: Callable[[int, str], Program], tower: Callable[[int], list[str]]
) -> None:
    server = program(64, "stands")
    server.process.kill()
    server.process.wait()
    assert "ended meanwhile" in tower(server.pid)[0]


def test_it_is_asked_for_longer_than_a_connection_may_say_nothing() -> None:
    assert supervise.ATTEMPTS * supervise.ANSWER_SECONDS > CLIENT_SECONDS


class Walks:
    """The placement as it is read, counted; the tower's clocks are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.count, self.found, self.booted, self.clock = 0, EVEN, 1000.0, 1.8e9
        self.note, self.record = directory / "run" / "main.json", directory / "var" / "main.json"
        for path in (self.note, self.record):
            path.parent.mkdir()
        monkeypatch.setattr(supervise, "read_process", lambda _pid: self.read())
        monkeypatch.setattr(time, "clock_gettime", lambda clock: {time.CLOCK_BOOTTIME: self.booted}[clock])
        monkeypatch.setattr(time, "time", lambda: self.clock)

    def read(self) -> Any:
        self.count += 1
        return self.found

    def round(self, pid: int = 7) -> str | None:
        self.booted += 30
        self.clock += 30
        return check_placement(intent(Server(200)), pid, self.note, self.record)


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Walks:
    return Walks(monkeypatch, tmp_path)


@pytest.fixture
def tower(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the check of a process as its unit does; what it says, which is no traceback."""
    unit = {"intent": intent(Server(200))}
    monkeypatch.setattr(supervise, "current_unit", lambda _name: (Instance("main", str(tmp_path)), "a1", {}, unit))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "var"))

    def run(pid: int) -> list[str]:
        monkeypatch.setattr(supervise, "show", lambda *_names: {"ActiveState": "active", "MainPID": str(pid)})
        assert supervise.main(["supervise", "watch", "main"]) == 1
        return capsys.readouterr().err.splitlines()

    return run


def test_drift_is_recorded_with_the_time_since_when(walks: Walks) -> None:
    walks.found = UNEVEN
    problem = walks.round()
    record = json.loads(walks.record.read_text())
    assert record["problem"] == problem
    assert "200.0% apart" in str(problem)
    assert [entry["problem"] for entry in record["history"]] == [problem]
    # Within the hour the page tables are left alone, and the problem stays told.
    walks.found = EVEN
    assert walks.round() == problem
    assert walks.count == 1


@pytest.mark.parametrize("jump", [1e9, -1e9])
def test_the_clock_may_be_set_and_the_placement_is_read_once_an_hour(walks: Walks, jump: float) -> None:
    walks.round()
    walks.clock += jump
    for _round in range(240):
        walks.round()
        if walks.count == 2:
            walks.clock -= jump
    assert walks.count == 3


def test_a_full_var_changes_nothing_and_is_told(walks: Walks) -> None:
    walks.record.parent.rmdir()
    assert [str(walks.round()).count("cannot be written") for _round in range(3)] == [1, 1, 1]
    assert walks.count == 1
    walks.found = UNEVEN
    walks.booted += 3600
    assert "200.0% apart" in str(walks.round())
    walks.record.parent.mkdir()
    walks.round()
    assert len(json.loads(walks.record.read_text())["history"]) == 2


@pytest.mark.parametrize(
    "text",
    [None, b"", b"[]", b"\xff", b'{"schema_version": 1}', b'{"schema_version": 1, "problem": 1, "history": [1]}'],
)
def test_a_missing_or_broken_record_is_written_again_without_a_walk(walks: Walks, text: bytes | None) -> None:
    walks.round()
    whole = walks.record.read_text()
    walks.record.unlink()
    if text is not None:
        walks.record.write_bytes(text)
    assert walks.round() is None
    assert (walks.record.read_text(), walks.count) == (whole, 1)


@pytest.mark.parametrize("text", [b"", b"[]", b'"x"', b'{"pid": 7, "boot_seconds": "x"}'])
def test_a_broken_note_is_none(walks: Walks, text: bytes) -> None:
    walks.round()
    walks.note.write_bytes(text)
    assert walks.round() is None
    assert walks.count == 2


def test_what_cannot_be_noted_is_not_read_and_is_one_sentence(
    walks: Walks, tower: Callable[[int], list[str]], process: subprocess.Popen[bytes]
) -> None:
    walks.note.parent.rmdir()
    (said,) = tower(process.pid)
    assert "cannot go on" in said
    assert str(walks.note) in said
    assert walks.count == 0


def test_history_has_changes_only_and_an_end() -> None:
    record: Any = None
    for hour in range(3):
        record = updated(record, 7, EVEN, None, hour * 3600)
    assert [entry["since"] for entry in record["history"]] == ["1970-01-01T00:00:00Z"]
    for hour in range(100):
        record = updated(record, 7, EVEN, f"problem {hour}", hour * 3600)
    assert len(record["history"]) == 20


def test_the_placement_is_read_again_of_another_process_and_after_an_hour() -> None:
    note = {"pid": 7, "boot_seconds": 100.0, "record": None}
    assert not due(note, 7, 100 + 3599)
    assert due(note, 7, 100 + 3600)
    assert due(note, 8, 101)
    assert due(note, 7, 99), "of another boot"


def test_automatic_restarts_wait_longer_each_time_up_to_an_hour_and_do_not_end() -> None:
    waits = [restart_wait([0.0] * count, 1.0) for count in range(12)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert restart_wait([0.0] * 12, 24 * 3600) == 5


def test_crashes_of_the_future_do_not_count() -> None:
    assert restart_wait([1e9] * 12, 1.0) == 5


def test_a_start_by_hand_does_not_wait_and_forgets_the_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    restarts = iter(["1", "2", "0", "1"])
    monkeypatch.setattr(supervise, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(supervise, "show", lambda *_names: {"NRestarts": next(restarts)})
    for _start in range(4):
        wait_before("main", waited.append)
    assert waited == [5, 10, 5]


def test_a_start_lets_the_user_of_the_unit_read_what_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit has another user since: of a run that was refused before it deployed, or of one that was taken back."""
    instance = Instance("main", str(tmp_path))
    place = Path(instance.directory("a1"))
    place.mkdir(parents=True)
    for name in ("deployment.json", "keys"):
        (place / name).write_text("")
    unit = {"unit": "llama-server@main.service"}
    fields = {"NRestarts": "0", "User": "somebody"}
    monkeypatch.setattr(supervise, "RUNTIME", tmp_path)
    monkeypatch.setattr(supervise, "show", lambda *_names: fields)
    monkeypatch.setattr(supervise, "current_unit", lambda _name: (instance, "a1", {}, unit))
    monkeypatch.setattr(supervise, "prepare_memory", lambda _deployment: None)
    for group in (2, 2, 3):
        monkeypatch.setattr("pwd.getpwnam", lambda _name, group=group: SimpleNamespace(pw_gid=group))
        assert supervise.problem_of("before", "main", []) is None
        owned = [os.stat(path) for path in (place, place / "deployment.json", place / "keys")]
        assert [(found.st_uid, found.st_gid) for found in owned] == [(0, group)] * 3
        assert [found.st_mode & 0o777 for found in owned] == [0o750, 0o640, 0o640]
        # As a run that was cut off left them.
        (place / "keys").chmod(0o600)
        os.chown(place / "keys", 0, 0)


def test_after_twelve_crashes_it_is_started_again_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervise, "RUNTIME", tmp_path)
    monkeypatch.setattr(supervise, "show", lambda *_names: {"NRestarts": "12"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        waits = []
        for _crash in range(12):
            wait_before("main", lambda _seconds: None)
            waits.append(int(systemd.recv(100).decode().removeprefix("EXTEND_TIMEOUT_USEC=")) / 1e6 - 60)
    assert waits[-2:] == [3600, 3600]
    assert "started again in 60 min: journalctl -u llama-server@main" in capsys.readouterr().err.splitlines()[-1]
