# SPDX-License-Identifier: MIT
"""Check on the tower that a running llama-server is healthy and that its memory lies where it should.

    supervise before INSTANCE       before each start, as root: waits longer from one automatic restart to the next,
                                    and gives up in the end
    supervise start INSTANCE PID    after each start: waits until the server has loaded its model, and fails the start
                                    where something is wrong
    supervise watch INSTANCE        every half minute: kills a server that does not answer, which systemd then starts
                                    again; every hour: reads the placement

What is intended is in /etc/llama-server/INSTANCE.json; ``watch`` records what it found in
$STATE_DIRECTORY/INSTANCE.json. Sentences go to standard error, which is the unit's journal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Callable, Optional, cast

from ..files import make_directory, read_json, write_beside, write_json
from ..text import utc
from .client import healthy, read_key, warm_up
from .document import Intent, Placement, PlacementRecord
from .placement import placement_problem, summarize
from .unit import show, unit_of

# Raised when a key of the record is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1
CONFIG = Path("/etc/llama-server")
RUNTIME = Path("/run/llamatower")
# Automatic restarts: the first after so long, each wait twice as long as the one before, up to a longest; after so many
# in so long a server is broken, and loading hundreds of gigabytes again does not mend it. Starts by hand are neither
# counted nor delayed, which systemd's own limit would do.
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 300
MOST_RESTARTS = 10
RESTARTS_SECONDS = 24 * 3600
# An answer to /health takes milliseconds. A server that gives none for so long, asked so often, hangs.
ANSWER_SECONDS = 10
ATTEMPTS = 3
# Reading numa_maps and smaps walks the page tables of hundreds of gigabytes, with the server's memory map locked.
PLACEMENT_SECONDS = 3600
# How many changes of the placement are kept.
KEPT = 20


def restart_wait(earlier: list[float], now: float) -> Optional[float]:
    """Seconds to wait before an automatic restart, None where there were too many; ``earlier`` are their times."""
    recent = [moment for moment in earlier if now - moment < RESTARTS_SECONDS]
    if len(recent) >= MOST_RESTARTS:
        return None
    return float(min(FIRST_WAIT_SECONDS * 2 ** len(recent), LONGEST_WAIT_SECONDS))


def before(instance: str, sleep: Callable[[float], None] = time.sleep) -> Optional[str]:
    """Wait before an automatic restart; one sentence where there were too many of them."""
    path = RUNTIME / f"{instance}.restarts"
    if not int(show(unit_of(instance), "NRestarts")["NRestarts"]):
        path.unlink(missing_ok=True)
        return None
    try:
        earlier = [float(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        earlier = []
    now = time.time()
    seconds = restart_wait(earlier, now)
    if seconds is None:
        return (
            f"The server crashed {MOST_RESTARTS} times within a day and is not started again: find out why "
            f"(journalctl -u llama-server@{instance}), then systemctl restart llama-server@{instance}."
        )
    make_directory(str(path.parent))
    moments = [*earlier, now][-MOST_RESTARTS:]
    write_beside(str(path), " ".join(map(str, moments)) + "\n", sync=False)  # /run does not survive a power failure
    sleep(seconds)
    return None


def read_process(pid: int) -> Placement:
    """What the memory of a process is; raises OSError where it does not run."""
    return summarize(*(Path(f"/proc/{pid}/{name}").read_text() for name in ("numa_maps", "smaps")))


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def check_start(
    intent: Intent,
    pid: int,
    key: Optional[str],
    sleep: Callable[[float], None] = time.sleep,
    read: Callable[[int], Placement] = read_process,
) -> Optional[str]:
    """Wait until the server has loaded its model; one sentence where it did not, or did it wrongly.

    How long is systemd's business (TimeoutStartSec).
    """
    while not healthy(intent["url"]):
        if not alive(pid):
            return "The server ended while it loaded its model: the lines before this one say why."
        sleep(0.5)
    # Under the policy distribute a page of the file comes to the thread that is the first to use it.
    if intent["warm_up_tokens"]:
        warm_up(intent["url"], key, intent["warm_up_tokens"], 3600)
    return placement_problem(read(pid), intent)


def answers(url: str, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Whether the server answers on /health, asked a few times: 503 while it loads is an answer."""
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(1)
        if healthy(url, ANSWER_SECONDS, loading=True):
            return True
    return False


def updated(
    record: Optional[PlacementRecord], pid: int, placement: Placement, problem: Optional[str], now: float
) -> PlacementRecord:
    """The record of a placement check: what was found now, and when it last changed."""
    history = list(record["history"]) if record else []
    if not history or (history[-1]["problem"], history[-1]["pid"]) != (problem, pid):
        history.append({"since": utc(now), "pid": pid, "problem": problem})
    return {
        "schema_version": SCHEMA_VERSION,
        "checked": utc(now),
        "checked_epoch": int(now),
        "pid": pid,
        "problem": problem,
        "placement": placement,
        "history": history[-KEPT:],
    }


def read_record(path: Path) -> Optional[PlacementRecord]:
    """What an earlier round wrote down; None where it did not, or as another version."""
    record = read_json(str(path))
    known = isinstance(record, dict) and record.get("schema_version") == SCHEMA_VERSION
    return cast(PlacementRecord, record) if known else None


def due(record: PlacementRecord, pid: int, now: float) -> bool:
    """Whether the placement is to be read again: of another process, or an hour later."""
    return record["pid"] != pid or now - record["checked_epoch"] >= PLACEMENT_SECONDS


def watch(intent: Intent, pid: int, path: Path) -> Optional[str]:
    """One round of the timer; one sentence where something is wrong."""
    if not answers(intent["url"]):
        if not alive(pid):
            return None
        # A stopped process takes no other signal; systemd starts it again (Restart=on-abnormal).
        os.kill(pid, signal.SIGKILL)
        return (
            f"The server gave no answer on /health, {ATTEMPTS} times {ANSWER_SECONDS} s: killed, to be started again."
        )
    record = read_record(path)
    now = time.time()
    if record and not due(record, pid, now):
        return record["problem"]
    found = read_process(pid)
    problem = placement_problem(found, intent)
    write_json(str(path), updated(record, pid, found, problem, now))
    return problem


def running(instance: str) -> Optional[int]:
    """The process of an instance that has started; None while it starts, stops, or does not run."""
    fields = show(unit_of(instance), "ActiveState", "MainPID")
    return int(fields["MainPID"]) if fields["ActiveState"] == "active" else None


def main(argv: list[str]) -> int:
    action, instance = argv[1:3]
    if action == "before":
        problem = before(instance)
        if problem:
            print(problem, file=sys.stderr)
        return 1 if problem else 0
    intent = cast(Intent, json.loads((CONFIG / f"{instance}.json").read_text(encoding="utf-8")))
    try:
        if action == "start":
            problem = check_start(intent, int(argv[3]), read_key(intent["key_file"]))
        else:
            pid = running(instance)
            problem = watch(intent, pid, Path(os.environ["STATE_DIRECTORY"]) / f"{instance}.json") if pid else None
    except (FileNotFoundError, ProcessLookupError):
        problem = "The server ended meanwhile: the lines before this one say why."
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
