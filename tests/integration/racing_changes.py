# SPDX-License-Identifier: MIT
"""Run on a tower, as root: two changes of an instance at once, again and again, and a line of JSON for each pair.

racing_changes.py INSTANCE SEED COUNT MODULE DEPLOYMENT DEPLOYMENT

MODULE is llama_deployment as Ansible brought it to the tower, with the first of two deployments and somebody called
``racer`` as its arguments. Both changes are processes of it, one to each deployment, by ``racer0`` and ``racer1``.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# How much later than the first the second begins, in seconds: a switch takes several.
SPREAD = 1.5


def holder(instance: str, processes: list[subprocess.Popen[str]]) -> str:
    """Which of these processes changes the instance, as it is told to who waits; "" for none."""
    try:
        found = json.loads(Path(f"/run/llamatower/{instance}.json.lock").read_text())
    except (OSError, ValueError):
        return ""
    one_of_them = found["pid"] in [process.pid for process in processes]
    return f"{found['what']} by {found['by']} since {found['since']}" if one_of_them else ""


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    found: dict[str, Any] = json.loads(output[output.index("{") :])
    return {"code": process.returncode, **{key: found.get(key) for key in ("changed", "deployment", "msg")}}


def link(instance: Path, name: str) -> str | None:
    return os.readlink(instance / name).rpartition("/")[2] if (instance / name).is_symlink() else None


def state(instance: Path) -> dict[str, Any]:
    """Which deployment the tower has and runs."""
    unit = f"llama-server@{instance.name}.service"
    shown = subprocess.run(
        ["systemctl", "show", "--property=MainPID,NeedDaemonReload,ActiveState", unit],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip
    unit_state = dict(line.split("=", 1) for line in shown.splitlines())
    runs = re.search(r"LLAMATOWER_DEPLOYMENT=(\w+)", Path(f"/proc/{unit_state['MainPID']}/environ").read_text())
    links = {name: link(instance, name) for name in ("current", "good", "wanted")}
    return {**links, "runs": runs and runs[1], **unit_state}


def main(argv: list[str]) -> int:
    name, seed, count, path, *deployments = argv[1:]
    module, chance = Path(path).read_text(), random.Random(int(seed))
    for _pair in range(int(count)):
        offset, order = chance.uniform(0, SPREAD), chance.sample(deployments, 2)
        processes: list[subprocess.Popen[str]] = []
        holders = set()
        for number, wanted in enumerate(order):
            program = Path(f"{path}.{number}")
            program.write_text(module.replace(deployments[0], wanted).replace("racer", f"racer{number}"))
            processes.append(
                subprocess.Popen([sys.executable, program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            )
            until = time.monotonic() + (0 if number else offset)
            while time.monotonic() < until:
                time.sleep(0.02)
        while all(process.poll() is None for process in processes):
            holders.add(holder(name, processes))
            time.sleep(0.02)
        outcomes = [outcome(process) for process in processes]
        pair = {"offset": offset, "order": order, "outcomes": outcomes, "holders": sorted(holders - {""})}
        print(json.dumps({**pair, **state(Path("/var/lib/llamatower/instances") / name)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
