# SPDX-License-Identifier: MIT
"""How an instance is said to be, by what systemd, its process, the files of the tower and the server's answer say."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.lock import locked
from plugins.module_utils.progress import Progress
from plugins.module_utils.service import status
from plugins.module_utils.service.deployment import Instance
from plugins.module_utils.service.status import InstanceStatus, instance_status, running_jobs
from plugins.module_utils.service.supervise import boot_seconds
from plugins.module_utils.text import utc

PID = 4711


def deployment(units: list[str]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "engine": {"key": "b1", "directory": "/e"},
        "model": {"name": "glm", "sha256": ["0"], "directory": "/m", "files": ["x"], "bytes": 1},
        "units": [
            {"name": name, "unit": f"llama-server@{name}.service", "url": f"http://{name}", "environment": {}}
            for name in units
        ],
    }


class Machine:
    """An instance ``main`` with deployments aaaa and bbbb, of which aaaa is current and was proven."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, units: tuple[str, ...] = ("main",)) -> None:
        self.directory, self.shown = directory, dict.fromkeys(units, ("active", PID))
        self.runs, self.answering = "aaaa", True
        for name in ("aaaa", "bbbb"):
            path = directory / "instances/main/deployments" / name
            path.mkdir(parents=True)
            (path / "deployment.json").write_text(json.dumps(deployment(list(units))))
        (directory / "instances/main/deployments/aaaa/proven").touch()
        self.instance = Instance("main", str(directory / "instances"))
        self.instance.point("current", "aaaa")
        monkeypatch.setattr(status, "process_deployment", lambda pid: self.runs if pid else None)

    def systemctl(self, words: list[str]) -> str:
        state, pid = self.shown[words[-1].removeprefix("llama-server@").removesuffix(".service")]
        entered = int((time.clock_gettime(time.CLOCK_MONOTONIC) - 60) * 1e6) if pid else 0
        return f"ActiveState={state}\nMainPID={pid}\nActiveEnterTimestampMonotonic={max(entered, 1) if pid else 0}\n"

    def is_now(self) -> InstanceStatus:
        return instance_status(
            self.instance, self.systemctl, lambda _url: self.answering, str(self.directory), str(self.directory)
        )

    def switched(self, outcome: str, ended: float) -> None:
        record = {"deployment": "bbbb", "outcome": outcome, "ended": utc(ended), "started": utc(ended)}
        (self.directory / "instances/main/switch.json").write_text(json.dumps(record))

    def checked(self, problem: str | None, pid: int = PID, unit: str = "main") -> None:
        record = {
            "schema_version": 1,
            "checked": utc(),
            "pid": pid,
            "problem": problem,
            "placement": {"nodes": {"0": 5, "1": 5}},
            "history": [{"since": utc(), "pid": pid, "problem": problem}],
        }
        (self.directory / f"{unit}.json").write_text(json.dumps(record))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_one_that_serves_has_its_deployment_model_engine_and_when_it_was_proven(machine: Machine) -> None:
    found = machine.is_now()
    assert (found["state"], found["problem"]) == ("serving", None)
    assert (found["deployment"], found["model"], found["engine"]) == ("aaaa", "glm", "b1")
    proven = os.stat(machine.directory / "instances/main/deployments/aaaa/proven").st_mtime
    assert found["since"] == utc(proven)
    assert found["event"] and found["event"]["code"] == "started"


@pytest.mark.parametrize(
    ("state", "pid", "answering", "expected", "said"),
    [
        ("active", PID, False, "silent", "gives no answer on /health"),
        ("activating", PID, False, "loading", "loads its model"),
        ("failed", 0, False, "failed", "does not run"),
        ("inactive", 0, False, "stopped", "llamatower.tower.serve starts it"),
    ],
)
def test_one_that_does_not_serve_says_what_to_do(
    machine: Machine, state: str, pid: int, answering: bool, expected: str, said: str
) -> None:
    machine.shown["main"], machine.answering = (state, pid), answering
    found = machine.is_now()
    assert found["state"] == expected
    assert found["problem"] and said in found["problem"]


def test_a_process_of_another_deployment_than_the_current_one_is_told(machine: Machine) -> None:
    machine.runs = "bbbb"
    found = machine.is_now()
    assert found["problem"] and "runs bbbb and not aaaa" in found["problem"]


def test_a_switch_that_goes_on_is_told(machine: Machine) -> None:
    machine.instance.point("wanted", "bbbb")
    found = machine.is_now()
    assert found["state"] == "switching"
    assert found["problem"] and "switched to bbbb" in found["problem"]


def test_without_a_deployment_that_is_told(machine: Machine) -> None:
    machine.instance.forget("current")
    found = machine.is_now()
    assert found["state"] == "nothing" and found["problem"]


@pytest.mark.parametrize(("outcome", "code"), [("committed", "switched"), ("taken_back", "taken_back")])
def test_what_happened_last_is_the_latest_of_all(machine: Machine, outcome: str, code: str) -> None:
    machine.switched(outcome, time.time() - 10)
    event = machine.is_now()["event"]
    assert event and (event["code"], event["deployment"]) == (code, "bbbb")
    now = boot_seconds()
    (machine.directory / "main.restarts").write_text(f"{now - 2 * 86400} {now - 300} {now - 5}\n")
    event = machine.is_now()["event"]
    assert event and (event["code"], event["count"]) == ("restarted", 2), "within a day"


def test_where_the_memory_lies_is_of_this_process_only(machine: Machine) -> None:
    assert machine.is_now()["nodes"] is None
    machine.checked(None)
    assert machine.is_now()["nodes"] == {"0": 5, "1": 5}
    machine.checked("Not even.")
    found = machine.is_now()
    assert (found["misplaced"], found["problem"]) == ("Not even.", None), "it serves, and is slower"
    assert found["event"] and found["event"]["code"] == "misplaced"
    machine.checked("Not even.", pid=1)
    assert machine.is_now()["misplaced"] is None


def test_an_instance_of_several_units_is_as_its_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, ("main-node0", "main-node1"))
    machine.shown["main-node1"] = ("failed", 0)
    machine.checked(None, unit="main-node0")
    found = machine.is_now()
    assert found["state"] == "failed"
    assert found["problem"] and found["problem"].startswith("llama-server@main-node1.service does not run")


def test_jobs_are_those_whose_lock_is_held_with_how_far_they_are(tmp_path: Path) -> None:
    change, fetch, idle = (str(tmp_path / name) for name in ("change.lock", "fetch.json", "idle.json"))
    with Progress(idle, "the hashing of all models"):
        pass
    assert running_jobs([change], [fetch, idle]) == []
    with locked(change, "a deployment of main", 0, by="ann@desk"), Progress(fetch, "the fetch of glm", "ben@x") as job:
        job.tell("fetching", 3, 10, "files")
        found = running_jobs([change], [fetch, idle])
    assert [(job["holder"]["what"], job["holder"]["by"], job["line"]) for job in found] == [
        ("a deployment of main", "ann@desk", None),
        ("the fetch of glm", "ben@x", "fetching 3 of 10, 30 %"),
    ]
