# SPDX-License-Identifier: MIT
"""The files by which systemd knows of a deployment: a drop-in for each of its units, and one for the slice of all.

The unit files themselves say nothing of any instance.
"""

from __future__ import annotations

import glob
import os
import re
import shutil

from ..files import make_directory, write_beside
from ..limits import SLICE
from .deployment import INSTANCES, Deployment, current_deployments
from .unit import Call, call, unit_of

SYSTEM = "/etc/systemd/system"
DROP_IN = "deployment.conf"
# What is a word of a unit file as it is.
PLAIN = re.compile(r"[^\s\"'\\$%]+")


def unit_word(text: str, command: bool = False) -> str:
    """A text, such as a path with blanks, as one word of a unit file, or of a command line there (systemd.syntax(7),
    systemd.service(5))."""
    if PLAIN.fullmatch(text):
        return text
    for special in ("\\", '"'):
        text = text.replace(special, "\\" + special)
    text = text.replace("%", "%%")
    return f'"{text.replace("$", "$$") if command else text}"'


def unit_drop_in(deployment: Deployment) -> str:
    """What the units of a deployment have besides the unit file of all."""
    lines = [
        "# Written with each deployment. Changes: variables of the role llama_service.",
        "[Unit]",
        f"RequiresMountsFor={' '.join(map(unit_word, deployment['mounts']))}",
        *(["Wants=llama-tls@%i.service"] if any(unit.get("tls") for unit in deployment["units"]) else []),
        "",
        "[Service]",
        f"TimeoutStartSec={deployment['start_seconds']}",
        f"MemoryMin={deployment['needed_bytes']}",
    ]
    if deployment["loopback"]:
        lines += ["IPAddressDeny=any", "IPAddressAllow=localhost"]
    return "\n".join(lines) + "\n"


def slice_drop_in(deployments: list[Deployment]) -> str:
    """What the slice protects: a service's memory is protected only within that."""
    needed = sum(deployment["needed_bytes"] * len(deployment["units"]) for deployment in deployments)
    return f"# Written with each deployment.\n[Slice]\nMemoryMin={needed}\n"


def wanted_files(deployment: Deployment, path: str = INSTANCES, system: str = SYSTEM) -> dict[str, str]:
    """The files of a deployment by their paths, with those of all other instances as they are."""
    together = [*current_deployments(path, but=[deployment["instance"]]), deployment]
    own = unit_drop_in(deployment)
    files = {os.path.join(system, f"{unit}.d", DROP_IN): own for unit in units_of(deployment)}
    return {**files, os.path.join(system, f"{SLICE}.d", DROP_IN): slice_drop_in(together)}


def differing(files: dict[str, str]) -> dict[str, str]:
    """Those that are not there, or have another text."""
    return {path: text for path, text in files.items() if _text(path) != text}


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def write(files: dict[str, str]) -> None:
    """Write what differs. Raises OSError."""
    for path, text in differing(files).items():
        make_directory(os.path.dirname(path))
        write_beside(path, text)


def own_units(instance: str, system: str = SYSTEM) -> list[str]:
    """The units of an instance that a deployment, this or a former one, has made."""
    own = re.compile(rf"{re.escape(instance)}(-node\d+)?")
    found = glob.glob(os.path.join(glob.escape(system), "llama-server@*.service.d", DROP_IN))
    names = [os.path.basename(os.path.dirname(path))[len("llama-server@") : -len(".service.d")] for path in found]
    return [unit_of(name) for name in sorted(names) if own.fullmatch(name)]


def stale_units(deployment: Deployment, system: str = SYSTEM) -> list[str]:
    """Those of them that a deployment does not have."""
    return [unit for unit in own_units(deployment["instance"], system) if unit not in units_of(deployment)]


def units_of(deployment: Deployment) -> list[str]:
    """The units of a deployment."""
    return [unit["unit"] for unit in deployment["units"]]


def remove(unit: str, run: Call = call, system: str = SYSTEM) -> None:
    """Stop a unit, and let systemd forget it. Raises UnitError and OSError."""
    run(["systemctl", "disable", "--now", unit])
    shutil.rmtree(os.path.join(system, f"{unit}.d"), ignore_errors=True)
