# SPDX-License-Identifier: MIT
"""Check on the tower that a running llama-server is healthy and that its memory lies where it should.

    supervise before INSTANCE       before each start, as root: waits longer from one automatic restart to the next,
                                    lets the server's user read the deployment, sets the weights of the nodes, and
                                    drops what is cached of the model
    supervise start INSTANCE PID    after each start: waits until the server has loaded its model, and says, or fails
                                    the start, where something is wrong
    supervise watch INSTANCE        every half minute: kills a server that neither answers nor computes, which systemd
                                    then starts again; every hour: reads the placement

What is intended says the current deployment of the instance. What ``watch`` found is in
$RUNTIME_DIRECTORY/INSTANCE.json, and for people, and for after a restart of the tower, in
$STATE_DIRECTORY/INSTANCE.json. Times that decide are of CLOCK_BOOTTIME, which nobody sets; /run, where they are kept,
is empty after each boot. Sentences go to standard error, which is the unit's journal.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional, cast

from ..files import make_directory, read_json, write_beside, write_json
from ..model.uncached import drop
from ..text import duration, utc
from .client import ServerError, healthy, read_key, warm_up
from .deployment import Deployment, current_unit, hand_over
from .document import Intent, Placement, PlacementRecord
from .numa_policy import WEIGHT
from .placement import placement_problem, read_process
from .unit import UnitError, show, unit_of

# Raised when a key of the record is renamed, removed or changes its meaning.
SCHEMA_VERSION = 1
RUNTIME = Path("/run/llamatower")
# Automatic restarts: the first after so long, each wait twice as long as the one before, up to a longest; those of the
# last day count. Starts by hand are neither counted nor delayed, which systemd's own limit would do.
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 3600
RESTARTS_SECONDS = 24 * 3600
# More would not make the wait longer.
KEPT_RESTARTS = 20
# What is granted to that step of a start beside the wait.
MARGIN_SECONDS = 60
# An answer to /health takes milliseconds. All attempts together last longer than a connection that says nothing
# (settings.CLIENT_SECONDS): where such ones hold all threads of a server that has nothing else to do, it answers then.
ANSWER_SECONDS = 10
ATTEMPTS = 3
# A server that uses less CPU time than this share of one CPU stands still. One that decodes or reads a prompt uses all
# of several CPUs, one that is stopped or locked up exactly none, and refusing or queuing a connection costs it less
# than a tenth of a millisecond.
STILL_SHARE = 0.01
# Reading numa_maps and smaps walks the page tables of hundreds of gigabytes, with the server's memory map locked.
PLACEMENT_SECONDS = 3600
# How many changes of the placement are kept.
KEPT = 20


def say(sentence: str) -> None:
    """A line of the unit's journal."""
    print(sentence, file=sys.stderr, flush=True)


def boot_seconds() -> float:
    """Seconds since the tower was booted, whatever its clock was set to."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def restart_wait(earlier: list[float], now: float) -> float:
    """Seconds to wait before an automatic restart; ``earlier`` are the times of those before it."""
    recent = [moment for moment in earlier if 0 <= now - moment < RESTARTS_SECONDS]
    return float(min(FIRST_WAIT_SECONDS * 2 ** len(recent), LONGEST_WAIT_SECONDS))


def extend_start(seconds: float) -> None:
    """Tell systemd that this step of a start takes so long, which its TimeoutStartSec may not allow for (sd_notify).

    Where it is not heard, the start times out, and is tried again.
    """
    address = os.environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}".encode(), address)


def prepare_memory(deployment: Deployment) -> None:
    """Give the memory nodes their weights, and have no page of the model cached. Raises OSError.

    Pages that lie in the page cache stay on the node that first read them, whatever the memory policy says later.
    """
    for node, weight in deployment["weights"].items():
        Path(WEIGHT.format(node)).write_text(f"{weight}\n", encoding="ascii")
    for name in deployment["model"]["files"]:
        with open(os.path.join(deployment["model"]["directory"], name), "rb") as file:
            drop(file.fileno())


def read_restarts(path: Path) -> list[float]:
    """The automatic restarts that :func:`wait_before` has kept, each in seconds since the boot; [] where none are."""
    try:
        return [float(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def wait_before(instance: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait before an automatic restart."""
    path = RUNTIME / f"{instance}.restarts"
    if not int(show(unit_of(instance), "NRestarts")["NRestarts"]):
        path.unlink(missing_ok=True)
        return
    earlier, now = read_restarts(path), boot_seconds()
    seconds = restart_wait(earlier, now)
    say(
        f"The server ended by itself and is started again in {duration(seconds)}: journalctl -u "
        f"llama-server@{instance} says why, and systemctl restart llama-server@{instance} does not wait."
    )
    # Where they cannot be counted, each restart is the first.
    with contextlib.suppress(OSError):
        make_directory(str(path.parent))
        moments = [*earlier, now][-KEPT_RESTARTS:]
        write_beside(str(path), " ".join(map(str, moments)) + "\n", sync=False)  # /run does not survive a power failure
    extend_start(seconds + MARGIN_SECONDS)
    sleep(seconds)


def stat_fields(pid: int) -> list[str]:
    """Those of /proc/PID/stat after the name, the state first; raises OSError where it does not run."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """The CPU time of all threads of a process, also of those that ended; raises OSError where it does not run."""
    user, system = stat_fields(pid)[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def check_start(
    intent: Intent,
    pid: int,
    key: Optional[str],
    sleep: Callable[[float], None] = time.sleep,
    read: Callable[[int], Placement] = read_process,
) -> Optional[str]:
    """Wait until the server has loaded its model; one sentence where it did not, or is to fail for where it did.

    How long is systemd's business (TimeoutStartSec).
    """
    while not healthy(intent["url"]):
        if not alive(pid):
            return "The server ended while it loaded its model: the lines before this one say why."
        sleep(0.5)
    # Under the policy distribute a page of the file comes to the thread that is the first to use it.
    if intent["warm_up_tokens"]:
        warm_up(intent["url"], key, intent["warm_up_tokens"], 3600)
    problem = placement_problem(read(pid), intent)
    if problem and intent["placement_failure"] != "fail":
        say(f"{problem} It serves all the same (llama_service_placement_failure).")
        return None
    return problem


def answers(url: str) -> bool:
    """Whether the server answers on /health, asked a few times: 503 while it loads is an answer."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(1)
        if healthy(url, ANSWER_SECONDS, loading=True):
            return True
    return False


def check_health(url: str, pid: int) -> Optional[str]:
    """One sentence where the server gives no answer; where it does not compute either, it is killed."""
    began, used = time.monotonic(), cpu_seconds(pid)
    if answers(url) or not alive(pid):
        return None
    cpus = (cpu_seconds(pid) - used) / (time.monotonic() - began)
    silent = f"The server gave no answer on /health, {ATTEMPTS} times {ANSWER_SECONDS} s"
    if cpus >= STILL_SHARE:
        return f"{silent}, and computes ({cpus:.2f} CPUs): it is left alone, and serves those who asked before."
    # A stopped process takes no other signal; systemd starts it again (Restart=on-abnormal).
    os.kill(pid, signal.SIGKILL)
    return f"{silent}, and stands still: killed, to be started again."


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


def known_record(record: Any) -> Optional[PlacementRecord]:
    """A record of this version; None for anything else."""
    known = isinstance(record, dict) and record.get("schema_version") == SCHEMA_VERSION
    history = record.get("history") if known else None
    whole = isinstance(history, list) and all(
        isinstance(event, dict) and event.keys() >= {"since", "pid", "problem"} for event in history
    )
    return cast(PlacementRecord, record) if whole and "problem" in record else None


def due(note: Any, pid: int, now: float) -> bool:
    """Whether the placement is to be read: it was not yet, of another process, or an hour ago."""
    try:
        return not (note["pid"] == pid and 0 <= now - note["boot_seconds"] < PLACEMENT_SECONDS)
    except (TypeError, KeyError):
        return True


def check_placement(intent: Intent, pid: int, note_path: Path, path: Path) -> Optional[str]:
    """Read the placement once an hour; one sentence where it is wrong, also within the hour.

    The note, in /run, is what decides; the record in ``path`` is written whenever it is another.
    """
    note, earlier = read_json(str(note_path)), known_record(read_json(str(path)))
    now = boot_seconds()
    if due(note, pid, now):
        # What could not be written since the last hour is in the note only.
        history = known_record(note.get("record") if isinstance(note, dict) else None) or earlier
        # Before the page tables are walked: what cannot be noted would be done again in half a minute.
        note = {"pid": pid, "boot_seconds": now, "record": None}
        write_json(str(note_path), note, sync=False)
        found = read_process(pid)
        note["record"] = updated(history, pid, found, placement_problem(found, intent), time.time())
        write_json(str(note_path), note, sync=False)
    record = known_record(note.get("record"))
    write_problem = None
    if record and record != earlier:
        try:
            write_json(str(path), record)
        except OSError as error:
            write_problem = (
                f"{path} cannot be written ({error.strerror}): make room there; the check goes on without it."
            )
    return (record["problem"] if record else None) or write_problem


def watch(intent: Intent, pid: int, note_path: Path, path: Path) -> Optional[str]:
    """One round of the timer; one sentence where something is wrong."""
    return check_health(intent["url"], pid) or check_placement(intent, pid, note_path, path)


def running(instance: str) -> Optional[int]:
    """The process of an instance that has started; None while it starts, stops, or does not run."""
    fields = show(unit_of(instance), "ActiveState", "MainPID")
    return int(fields["MainPID"]) if fields["ActiveState"] == "active" else None


def problem_of(action: str, instance: str, words: list[str]) -> Optional[str]:
    """What a command of the module's description found; one sentence where something is wrong."""
    try:
        if action == "before":
            wait_before(instance)
        whole, identity, deployment, unit = current_unit(instance)
        if action == "before":
            # The unit may have another user than when the deployment was written down.
            hand_over(whole.directory(identity), pwd.getpwnam(show(unit["unit"], "User")["User"]).pw_gid)
            prepare_memory(deployment)
            return None
        intent = unit["intent"]
        if action == "start":
            return check_start(intent, int(words[0]), read_key(whole.keys_path(identity)))
        pid = running(instance)
        note = Path(os.environ["RUNTIME_DIRECTORY"]) / f"{instance}.json"
        return watch(intent, pid, note, Path(os.environ["STATE_DIRECTORY"]) / f"{instance}.json") if pid else None
    except (OSError, ValueError, LookupError, ServerError, UnitError) as error:
        if isinstance(error, ProcessLookupError) or str(getattr(error, "filename", "")).startswith("/proc/"):
            return "The server ended meanwhile: the lines before this one say why."
        return f"The {action} check of {instance} cannot go on: {error}"


def main(argv: list[str]) -> int:
    action, instance, *words = argv[1:]
    problem = problem_of(action, instance, words)
    if problem:
        say(problem)
    # A server that could not wait is started all the same.
    return 1 if problem and action != "before" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
