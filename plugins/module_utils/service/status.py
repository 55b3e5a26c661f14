# SPDX-License-Identifier: MIT
"""How the instances of a tower are, from the tower alone and within seconds: what runs, since when, what happened last.

What is known only from reading a model or from the page tables is taken from the last hourly check.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Callable, Optional, TypedDict

from ..files import read_json
from ..lock import Holder, holder
from ..progress import lock_of, progress_line, read
from ..text import utc
from .client import healthy
from .deployment import Deployment, Instance, SwitchRecord, process_deployment
from .document import PlacementRecord
from .supervise import RESTARTS_SECONDS, boot_seconds, known_record, read_restarts
from .unit import RUNNING, Call, call, show

# What is asked on the tower itself answers in milliseconds, or not at all.
ANSWER_SECONDS = 3
RECORDS = "/var/lib/llama-server"
RUNTIME = "/run/llamatower"

# From the worst to the best: an instance of several units is as its worst.
STATES = ("nothing", "failed", "stopped", "silent", "loading", "serving")


class Event(TypedDict):
    """What happened last, and when (UTC): ``code`` is switched, taken_back, switch_failed, restarted, misplaced or
    started, ``deployment`` the one that a switch was to, and ``count`` how many restarts within a day."""

    code: str
    when: str
    deployment: Optional[str]
    count: int


class InstanceStatus(TypedDict):
    """An instance. ``state`` is one of :data:`STATES`, or switching; ``deployment`` is the one that its process runs,
    proven ``since`` (UTC; null where it is not), ``model`` and ``engine`` are its names.

    ``nodes`` are the bytes by memory node that the check found last of this process, at ``checked`` (UTC), and
    ``misplaced`` its sentence where they do not lie as intended; all null where it has not looked yet.
    ``tokens_per_second`` is the latest measured of this engine and model, which was ``measured`` (UTC).
    ``problem`` is a sentence where it does not serve.
    """

    instance: str
    state: str
    deployment: Optional[str]
    since: Optional[str]
    model: Optional[str]
    engine: Optional[str]
    nodes: Optional[dict[str, int]]
    checked: Optional[str]
    misplaced: Optional[str]
    tokens_per_second: Optional[float]
    measured: Optional[str]
    event: Optional[Event]
    problem: Optional[str]


class Job(TypedDict):
    """What runs now and takes long, or changes the tower: who it is, and how far (null where it does not tell)."""

    holder: Holder
    line: Optional[str]


class TowerStatus(TypedDict):
    """A tower: its instances by name, and what goes on there."""

    instances: list[InstanceStatus]
    jobs: list[Job]


class Seen(TypedDict):
    """A tower as the controller asked it: its status, or the ``problem`` why there is none."""

    host: str
    status: Optional[TowerStatus]
    problem: Optional[str]


class Unit(TypedDict):
    """What systemd says of a unit: ``state`` is one of :data:`STATES`, ``deployment`` what its process runs, and
    ``started`` when it was (seconds since 1970; 0.0 where it was not)."""

    name: str
    state: str
    pid: int
    deployment: Optional[str]
    started: float


def read_unit(name: str, url: str, run: Call, answers: Callable[[str], bool]) -> Unit:
    """How a unit is."""
    shown = show(name, "ActiveState", "MainPID", "ActiveEnterTimestampMonotonic", run=run)
    state, pid = shown.get("ActiveState", "inactive"), int(shown.get("MainPID") or 0)
    entered = int(shown.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    if state == "active":
        state = "serving" if answers(url) else "silent"
    elif state in RUNNING:
        state = "loading"
    else:
        state = "failed" if state == "failed" else "stopped"
    started = time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - entered) if entered else 0.0
    return {"name": name, "state": state, "pid": pid, "deployment": process_deployment(pid), "started": started}


def switch_event(record: Optional[SwitchRecord]) -> Optional[Event]:
    """How the last switch ended; None where none has."""
    codes = {"committed": "switched", "taken_back": "taken_back", "failed": "switch_failed"}
    if not record or record["outcome"] not in codes or not record["ended"]:
        return None
    return {
        "code": codes[record["outcome"]],
        "when": record["ended"],
        "deployment": record["deployment"],
        "count": 0,
    }


def restart_event(path: Path, now: float) -> Optional[Event]:
    """The automatic restarts of the last day, of the moments that supervise has kept; None without one."""
    recent = [moment for moment in read_restarts(path) if 0 <= now - moment < RESTARTS_SECONDS]
    if not recent:
        return None
    return {"code": "restarted", "when": utc(time.time() - now + recent[-1]), "deployment": None, "count": len(recent)}


def misplaced_event(record: Optional[PlacementRecord]) -> Optional[Event]:
    """Since when the memory lies elsewhere than intended; None where it does not."""
    last = record["history"][-1] if record and record["history"] else None
    if not last or not last["problem"]:
        return None
    return {"code": "misplaced", "when": last["since"], "deployment": None, "count": 0}


def problem_of(instance: Instance, state: str, unit: str, runs: Optional[str]) -> Optional[str]:
    """A sentence where an instance does not serve what it is to, else None."""
    current = instance.named("current")
    if state == "switching":
        return (
            f"{instance.name} is being switched to {instance.named('wanted')}: run the same command again, or see "
            f"journalctl -u llamatower-switch@{instance.name}."
        )
    if state == "loading":
        return f"{unit} loads its model: run the same command again, or see journalctl -u {unit}."
    if state == "silent":
        return f"{unit} runs and gives no answer on /health: journalctl -u {unit} says why."
    if state in ("failed", "stopped"):
        return f"{unit} does not run: journalctl -u {unit} says why; ansible-playbook llamatower.tower.serve starts it."
    if runs != current:
        return f"{unit} runs {runs} and not {current}: run ansible-playbook llamatower.tower.serve."
    return None


def instance_status(
    instance: Instance,
    run: Call = call,
    answers: Callable[[str], bool] = lambda url: healthy(url, ANSWER_SECONDS),
    records: str = RECORDS,
    runtime: str = RUNTIME,
) -> InstanceStatus:
    """How an instance is, without its speed."""
    current = instance.current()
    if current is None:
        return _nothing(instance)
    units = [read_unit(unit["unit"], unit["url"], run, answers) for unit in current["units"]]
    worst = min(units, key=lambda unit: STATES.index(unit["state"]))
    state = "switching" if instance.named("wanted") else worst["state"]
    running = next((unit["deployment"] for unit in units if unit["deployment"]), None)
    found = [
        _record(os.path.join(records, f"{planned['name']}.json"), unit["pid"])
        for planned, unit in zip(current["units"], units)
    ]
    record = next((each for each in found if each and each["problem"]), found[0])
    now = boot_seconds()
    events = [
        switch_event(instance.record()),
        *(restart_event(Path(runtime, f"{unit['name']}.restarts"), now) for unit in current["units"]),
        misplaced_event(record),
        _started(max(unit["started"] for unit in units)),
    ]
    shown: Optional[Deployment] = instance.read(running) if running else None
    proven = instance.proven(running) if running else 0.0
    return {
        "instance": instance.name,
        "state": state,
        "deployment": running,
        "since": utc(proven) if proven else None,
        "model": (shown or current)["model"]["name"],
        "engine": (shown or current)["engine"]["key"],
        "nodes": record["placement"]["nodes"] if record else None,
        "checked": record["checked"] if record else None,
        "misplaced": record["problem"] if record else None,
        "tokens_per_second": None,
        "measured": None,
        "event": max((event for event in events if event), key=lambda event: event["when"], default=None),
        "problem": problem_of(instance, state, worst["name"], running),
    }


def _started(moment: float) -> Optional[Event]:
    return {"code": "started", "when": utc(moment), "deployment": None, "count": 0} if moment else None


def _record(path: str, pid: int) -> Optional[PlacementRecord]:
    """What the check found of this process; None where it has not looked yet."""
    record = known_record(read_json(path))
    return record if record and record["pid"] == pid else None


def _nothing(instance: Instance) -> InstanceStatus:
    return {
        "instance": instance.name,
        "state": "nothing",
        "deployment": None,
        "since": None,
        "model": None,
        "engine": None,
        "nodes": None,
        "checked": None,
        "misplaced": None,
        "tokens_per_second": None,
        "measured": None,
        "event": switch_event(instance.record()),
        "problem": f"{instance.name} has no deployment: run ansible-playbook llamatower.tower.serve.",
    }


def running_jobs(locks: list[str], progress: list[str]) -> list[Job]:
    """What goes on: who holds one of the locks, or works at one of the progress files."""
    found: list[Job] = []
    for path, told in [*((path, None) for path in locks), *((lock_of(path), path) for path in progress)]:
        who = holder(path)
        if who:
            state = read(told) if told else None
            found.append({"holder": who, "line": progress_line(state) if state else None})
    return found


def unasked_problem(said: str) -> str:
    """The sentence for a tower that did not answer, of what Ansible said."""
    lines = said.strip().splitlines()
    return f"It cannot be asked: {lines[-1] if lines else 'nobody says why.'}"


def tower_problems(seen: Seen) -> list[str]:
    """Why a tower does not serve all that it should, a sentence each; [] where it does."""
    if seen["status"] is None:
        return [seen["problem"] or unasked_problem("")]
    if not seen["status"]["instances"]:
        return ["Nothing is deployed here: run ansible-playbook llamatower.tower.site."]
    return [found["problem"] for found in seen["status"]["instances"] if found["problem"]]
