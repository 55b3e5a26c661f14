# SPDX-License-Identifier: MIT
"""A llama-server@ unit as systemd has it: what it runs, whether it started, and how to stop it for a while."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import Callable, Optional

from ..lock import HeldError, changing, held_problem

Call = Callable[[list[str]], str]
RUNNING = ("active", "activating", "reloading")
# A server that has not loaded its model in time may still be stopped before its next start, which takes all of its
# TimeoutStopSec; only then does systemd say what became of it.
VERDICT_SECONDS = 120


class UnitError(Exception):
    """The unit is not as it must be; the text is one sentence."""


def call(words: list[str]) -> str:
    """What a command prints. Raises UnitError where it fails."""
    # A journal has what programs said: llama.cpp cuts values of headers within a character.
    done = subprocess.run(words, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode:
        raise UnitError(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.returncode}.")
    return done.stdout


def systemd_answers() -> bool:
    """Whether systemd can be asked, which it cannot while a machine goes down."""
    return subprocess.run(["systemctl", "show", "--property=Version"], capture_output=True, check=False).returncode == 0


def module_call(run_command: Callable[..., tuple[int, str, str]]) -> Call:
    """Commands as a module runs them: one that fails ends it."""
    return lambda words: run_command(words, check_rc=True)[1]


def reload_files(run: Call = call, sleep: Callable[[float], None] = time.sleep) -> None:
    """Have systemd read its files again. Raises UnitError.

    While a machine boots, systemd 257 was seen to reset the connection of who asks for it.
    """
    for tries_left in (2, 1, 0):
        try:
            run(["systemctl", "daemon-reload"])
            return
        except UnitError:
            if not tries_left:
                raise
            sleep(1)


def unit_of(instance: str) -> str:
    """The unit of an instance."""
    return f"llama-server@{instance}.service"


def front_of(instance: str) -> str:
    """The unit that takes HTTPS for an instance."""
    return f"llama-tls@{instance}.service"


def switch_of(instance: str) -> str:
    """The unit that switches an instance to another deployment."""
    return f"llamatower-switch@{instance}.service"


def show(unit: str, *names: str, run: Call = call) -> dict[str, str]:
    """What systemd says of a unit; ActiveState is ``inactive`` for one that does not exist, and MainPID 0."""
    text = run(["systemctl", "show", f"--property={','.join(names)}", unit])
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def started(pattern: str, run: Call = call) -> list[str]:
    """The units of this pattern that run or start."""
    command = ["systemctl", "list-units", "--state=active,activating", "--plain", "--no-legend", pattern]
    return [line.split()[0] for line in run(command).splitlines() if line.strip()]


def main_pid(unit: str, run: Call = call) -> Optional[int]:
    """The process of a unit; None where it has none."""
    return int(show(unit, "MainPID", run=run).get("MainPID") or 0) or None


def start_state(unit: str, run: Call = call) -> tuple[str, int]:
    """How a unit is (active after the check of its start), and how often systemd has restarted it.

    While a start or restart is queued or going on, it is ``activating``, also where the process before it still stops.
    """
    shown = show(unit, "ActiveState", "NRestarts", "Job", run=run)
    state = "activating" if int(shown.get("Job") or 0) else shown.get("ActiveState", "unknown")
    return state, int(shown.get("NRestarts") or 0)


def await_start(
    unit: str,
    loaded: Callable[[], bool],
    timeout: float,
    run: Call = call,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """Seconds until a unit that was told to start has started and its server says that it has ``loaded`` its model.

    Raises UnitError where it ends, is restarted after a crash, or takes longer than ``timeout`` seconds.
    """
    began = time.monotonic()
    _state, restarts = start_state(unit, run)
    while True:
        state, now = start_state(unit, run)
        if state == "active" and loaded():
            return time.monotonic() - began
        ended = state not in RUNNING or now > restarts
        late = time.monotonic() - began - timeout
        if late > (0 if ended or state == "active" else VERDICT_SECONDS):
            raise UnitError(
                f"{unit} has not loaded its model within {timeout:g} s: the disk is slower than "
                "llama_service_slowest_load_bytes_per_second says, or the server hangs; its last words are under "
                "journal."
            )
        if ended:
            raise UnitError(f"{unit} did not start: its last words are under journal.")
        sleep(1)


def journal(unit: str, run: Call = call) -> tuple[list[str], str]:
    """The last lines of a unit's journal since its last start, and what the check of that said ("" for nothing)."""
    start = show(unit, "InvocationID", run=run).get("InvocationID", "")
    command = ["journalctl", "--no-pager", "-o", "cat", "-n", "30", "-u", unit, f"_SYSTEMD_INVOCATION_ID={start}"]
    said = run([*command, "-t", "python3"]).splitlines()
    return run(command).splitlines(), said[-1] if said else ""


def maps_model(pid: int) -> bool:
    """Whether a process maps a model file: its pages cannot be dropped from the page cache then."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            return any(line.rstrip().endswith(".gguf") for line in file)
    except OSError:
        return False


def resident_bytes(pid: Optional[int]) -> int:
    """What a process has in memory, pages of a pool included; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            sizes = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return 0
    return sum(int(sizes.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "HugetlbPages"))


def cpu_seconds(unit: str, run: Call = call) -> Optional[float]:
    """The CPU time that a unit has used; None where systemd does not count it."""
    used = show(unit, "CPUUsageNSec", run=run).get("CPUUsageNSec", "")
    # What is not known is shown as [not set], or as the largest number of 64 bits.
    return int(used) / 1e9 if used.isdigit() and int(used) < 2**63 else None


def huge_pages(environment: dict[str, str]) -> str:
    """Which huge pages glibc asks for: ``thp``, ``hugetlb`` (a pool) or ``none``."""
    tunables = environment.get("GLIBC_TUNABLES", "").split(":")
    chosen = [value for name, _, value in (each.partition("=") for each in tunables) if name == "glibc.malloc.hugetlb"]
    return {"": "none", "1": "thp"}.get("".join(chosen), "hugetlb")


@contextlib.contextmanager
def stopped(unit: str, lock_path: str, run: Call = call) -> Iterator[None]:
    """Stop a unit meanwhile, if it runs, and start it again, whatever becomes of this process.

    This process must hold a flock on ``lock_path`` that no child inherits. A guard, a unit of its own, waits for that
    lock: the kernel gives it up when this process ends, however that is, and the end of the guard starts the unit.
    The guard is there before the unit is stopped, and is ended when the unit runs again. No deployment is switched to
    meanwhile. Raises UnitError also where such a switch goes on.
    """
    try:
        with changing(f"a measurement that has stopped {unit}"):
            yield from _stopped(unit, lock_path, run)
    except HeldError as error:
        raise UnitError(held_problem(error)) from None


def _stopped(unit: str, lock_path: str, run: Call) -> Iterator[None]:
    guard = f"llamatower-guard-{unit.replace('@', '-')}"
    running = show(unit, "ActiveState", run=run)["ActiveState"] in RUNNING
    if show(guard, "ActiveState", run=run)["ActiveState"] != "inactive":
        # Of a process that was just killed, which waits for the lock that this one got first. Its end starts the unit.
        run(["systemctl", "stop", guard])
        running = True
    if not running:
        yield
        return
    run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={guard}",
            f"--description=Starts {unit} when what has stopped it ends",
            f"--property=ExecStopPost=/usr/bin/systemctl --no-block start {unit}",
            "/usr/bin/flock",
            lock_path,
            "/bin/true",
        ]
    )
    try:
        run(["systemctl", "stop", unit])
        yield
    finally:
        run(["systemctl", "start", unit])
        run(["systemctl", "stop", guard])
