# SPDX-License-Identifier: MIT
"""A llama-server@ unit as systemd has it: what it runs, and how to stop it and be sure that it comes back."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any, Callable, Optional

from .client import reachable

Call = Callable[[list[str]], str]
RUNNING = ("active", "activating", "reloading")


class UnitError(Exception):
    """The unit is not as it must be; the text is one sentence."""


def call(words: list[str]) -> str:
    """What a command prints. Raises UnitError where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnitError(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.returncode}.")
    return done.stdout


def properties(unit: str, run: Call = call) -> dict[str, str]:
    """What systemd says of a unit; ActiveState is ``inactive`` for one that does not exist."""
    names = "ActiveState,MainPID,ExecStart,EnvironmentFiles,CPUUsageNSec,User"
    return dict(line.split("=", 1) for line in run(["systemctl", "show", "--property", names, unit]).splitlines())


def describe(environment: str, exec_start: str) -> dict[str, Any]:
    """How a unit runs its model.

    ``environment`` is the text of its EnvironmentFile, ``exec_start`` what ``systemctl show`` prints for ExecStart.
    Returns ``prefix`` (the words before the server, such as numactl's), ``binaries`` (the directory of the server),
    ``model``, ``address``, ``key_file``, ``settings`` (all ``LLAMA_ARG_``; what is an option of the server besides has
    the name that it would have) and ``environment`` (what is for glibc). Raises UnitError where there is no model.
    """
    lines = [line.strip() for line in environment.splitlines()]
    variables = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    settings = {name: value for name, value in variables.items() if name.startswith("LLAMA_ARG_")}
    found = re.search(r"argv\[\]=(.*?) ;", exec_start)
    # systemd shows the variables of a command as they are written.
    text = re.sub(r"\$\{(\w+)\}", lambda match: variables.get(match[1], ""), found[1]) if found else ""
    words = shlex.split(text)
    at = next((index for index, word in enumerate(words) if os.path.basename(word) == "llama-server"), None)
    if "LLAMA_ARG_MODEL" not in settings or at is None:
        raise UnitError(
            "There is no service of this name that runs a model on this tower: run ansible-playbook llamatower.tower.serve first, or set "
            "benchmark_instance to one that there is (main-node0 with the policy per_node)."
        )
    for option, value in zip(words[at + 1 :], words[at + 2 :]):
        if option == "--threads-batch":
            settings["LLAMA_ARG_THREADS_BATCH"] = value
    host = reachable(settings.get("LLAMA_ARG_HOST", "127.0.0.1"))
    scheme = "https" if "LLAMA_ARG_SSL_CERT_FILE" in settings else "http"
    return {
        "prefix": words[:at],
        "binaries": os.path.dirname(words[at]),
        "model": settings["LLAMA_ARG_MODEL"],
        "address": f"{scheme}://{host}:{settings.get('LLAMA_ARG_PORT', '8080')}",
        "key_file": settings.get("LLAMA_ARG_API_KEY_FILE"),
        "settings": settings,
        "environment": {"GLIBC_TUNABLES": variables["GLIBC_TUNABLES"]} if "GLIBC_TUNABLES" in variables else {},
    }


def read_unit(unit: str, run: Call = call) -> dict[str, Any]:
    """:func:`describe` of a unit of this tower, and ``name``, ``active``: whether it runs, and ``maps_model``."""
    shown = properties(unit, run)
    text = ""
    for path in re.findall(r"(/\S+)", shown.get("EnvironmentFiles", "")):
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            text += file.read() + "\n"
    return {
        **describe(text, shown.get("ExecStart", "")),
        "name": unit,
        "active": shown["ActiveState"] in RUNNING,
        "maps_model": maps_model(int(shown.get("MainPID") or 0)),
    }


def maps_model(pid: int) -> bool:
    """Whether a process maps a model file: its pages cannot be dropped from the page cache then."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            return any(line.rstrip().endswith(".gguf") for line in file)
    except OSError:
        return False


def cpu_seconds(unit: str, run: Call = call) -> Optional[float]:
    """The CPU time that a unit has used; None where systemd does not count it."""
    used = properties(unit, run).get("CPUUsageNSec", "")
    # What is not known is shown as [not set], or as the largest number of 64 bits.
    return int(used) / 1e9 if used.isdigit() and int(used) < 2**63 else None


def huge_pages(environment: dict[str, str]) -> str:
    """Which huge pages glibc asks for: ``thp``, ``hugetlb`` (a pool) or ``none``."""
    tunable = environment.get("GLIBC_TUNABLES", "")
    return {"": "none", "glibc.malloc.hugetlb=1": "thp"}.get(tunable, "hugetlb")


def available_bytes() -> int:
    """The memory that can be had without swapping."""
    with open("/proc/meminfo", encoding="utf-8") as file:
        found = re.search(r"MemAvailable:\s+(\d+) kB", file.read())
    return int(found[1]) * 1024 if found else 0


def too_large(model_bytes: int, available: int) -> Optional[str]:
    """One sentence where a second copy of the model does not fit the memory that is available, else None."""
    needed = model_bytes + model_bytes // 10 + 2**30  # KV cache and compute buffers
    if needed <= available:
        return None
    return (
        f"A second copy of the model needs {needed / 1e9:.1f} GB, and {available / 1e9:.1f} GB are available beside "
        "the service."
    )


@contextlib.contextmanager
def stopped(unit: str, lock_path: str, run: Call = call) -> Iterator[None]:
    """Stop a unit meanwhile, if it runs, and start it again, whatever becomes of this process.

    This process must hold a flock on ``lock_path`` that no child inherits. A guard, a unit of its own, waits for that
    lock: the kernel gives it up when this process ends, however that is, and the end of the guard starts the unit.
    The guard is there before the unit is stopped, and is ended when the unit runs again.
    """
    guard = f"llamatower-guard-{unit.replace('@', '-')}"
    running = properties(unit, run)["ActiveState"] in RUNNING
    if properties(guard, run)["ActiveState"] != "inactive":
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
