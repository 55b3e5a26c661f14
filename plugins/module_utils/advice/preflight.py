# SPDX-License-Identifier: MIT
"""What keeps a machine from serving a model at all, found before anything is touched.

Each problem is one sentence with what was found and what mends it.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from ..service.numa_policy import MAX_CPUS, MAX_NODES
from ..tower_document import Tower

# Releases whose packages (glibc >= 2.35 for huge pages through malloc, cmake, ninja) were checked.
SUPPORTED = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
SUPPORTED_TEXT = "Debian 12 or 13, or Ubuntu 22.04 or 24.04"

# What roles hand on, which is there when another playbook ran before in the same command.
HANDED_ON = frozenset(
    {
        "benchmark_result",
        "bios_pending",
        "llama_service_result",
        "model_store_distribution_plan",
        "model_store_plan",
    }
)

# Directories that are words of units. systemd has its own meaning for blanks, quotes, backslashes, $ and %.
IN_UNITS = frozenset({"llama_build_root", "llama_service_build_root", "llama_service_model_dir", "model_store_dir"})
WORD = re.compile(r"/[^\s\"'\\$%]+")


def tower_problems(tower: Tower) -> list[str]:
    """Why llama.cpp cannot run, or not use, the machine that tower_info described."""
    problems = []
    system = tower["os"]
    if system["version_id"] not in SUPPORTED.get(system["id"] or "", ()):
        name = system["name"] or "This operating system"
        problems.append(f"{name} is not supported: install {SUPPORTED_TEXT}.")
    if not system["systemd"]:
        problems.append("systemd does not run here, and the server is a systemd service: boot with systemd.")
    nodes = [node for node in tower["nodes"] if node["memory_bytes"]]
    if len(nodes) > MAX_NODES:
        problems.append(
            f"There are {len(nodes)} memory nodes and llama.cpp can use {MAX_NODES}: in the BIOS set the NUMA nodes "
            "per socket to NPS1 (on Intel, turn SNC off) and turn off L3 cache as NUMA domain."
        )
    if (tower["cpus"] or 0) > MAX_CPUS:
        mend = (
            f"use fewer cores (maxcpus={MAX_CPUS} on the kernel command line, or fewer of them in the BIOS)."
            if tower["smt_active"] is False
            else "turn SMT (hyper-threading) off in the BIOS, which costs no decode speed."
        )
        problems.append(f"There are {tower['cpus']} logical CPUs and llama.cpp can use {MAX_CPUS}: {mend}")
    return problems


def variable_problems(values: dict[str, Any], specs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Names that no role knows, booleans that are text, and paths that units cannot have: a sentence by the name of the
    variable.

    ``values`` are the variables that begin with the name of a role, ``specs`` the options of all roles by
    name. Ansible itself passes a misspelled variable over in silence, and takes the text ``"false"`` in a
    condition for an error in the role.
    """
    problems = {}
    for name, value in sorted(values.items()):
        spec = specs.get(name)
        if spec is None:
            close = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it, or see the roles' defaults for the names."
            problems[name] = f"{name} is not a variable of any role: {hint}"
        elif spec.get("type") == "bool" and not isinstance(value, bool) and value is not None:
            problems[name] = (
                f"{name} is the {'text' if isinstance(value, str) else 'value'} {value!r}, not a boolean: write true "
                f"or false without quotes in the inventory, or -e '{{\"{name}\": true}}' on the command line."
            )
        elif name in IN_UNITS and value is not None and not WORD.fullmatch(str(value)):
            problems[name] = (
                f"{name} is {value!r}, which a unit of systemd cannot use: name a directory by a path that begins with "
                "/ and has no blanks, quotes, backslashes, $ and %."
            )
    return problems
