# SPDX-License-Identifier: MIT
"""What keeps a machine from serving a model at all, found before anything is touched.

Each problem is one sentence with what was found and what mends it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Optional

from ..service.numa_policy import MAX_CPUS, MAX_NODES
from ..tower_document import OperatingSystem, Tower

# Releases whose packages (glibc >= 2.35 for huge pages through malloc, cmake, ninja) were checked. Derivatives have
# those of the release that they are made from, which has this codename. Proxmox VE says that it is Debian.
SUPPORTED = {"debian": {"12": "bookworm", "13": "trixie"}, "ubuntu": {"22.04": "jammy", "24.04": "noble"}}
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

# Directories that programs of the tower use, each as a user of its own and wherever it is started.
ON_TOWER = frozenset(
    {
        "benchmark_dir",
        "llama_build_root",
        "llama_service_benchmark_dir",
        "llama_service_build_root",
        "llama_service_model_dir",
        "model_store_dir",
    }
)
# What is a pattern would be another place where files are looked for.
DIRECTORY = re.compile(r"/[^\x00-\x1f\x7f*?\[\]\\]+")
# Of a URL, or of what is one without its scheme.
USER_INFO = re.compile(r"(?:^|://)[^/?#]*@")


def tower_problems(tower: Tower) -> list[str]:
    """Why llama.cpp cannot run, or not use, the machine that tower_info described."""
    problems = []
    system = tower["os"]
    if not _supported(system):
        name = system["name"] or "This operating system"
        problems.append(f"{name} is not supported: install {SUPPORTED_TEXT}.")
    if not system["systemd"]:
        problems.append("systemd does not run here, and the server is a systemd service: boot with systemd.")
    if (tower.get("security") or {}).get("selinux") == "enforcing":
        problems.append(
            "SELinux is enforcing here, and has no rules for what these roles install: set SELINUX=permissive in "
            "/etc/selinux/config and restart, or use AppArmor, which Debian has by itself."
        )
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


def _supported(system: OperatingSystem) -> bool:
    known = {codename for releases in SUPPORTED.values() for codename in releases.values()}
    like = set(system.get("like") or ()) & SUPPORTED.keys()
    own = SUPPORTED.get(system["id"] or "", {})
    return system["version_id"] in own or bool(like and not own and system.get("base_codename") in known)


def variable_problems(values: dict[str, Any], specs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Names that no role knows, null where its variable has another default, booleans that are text, and paths that no
    tower has: a sentence by the name of the variable.

    ``values`` are the variables that begin with the name of a role, ``specs`` the options of all roles by
    name. Ansible itself passes a misspelled variable over in silence, null likewise, and takes the text
    ``"false"`` in a condition for an error in the role.
    """
    problems = {}
    for name, value in sorted(values.items()):
        spec = specs.get(name)
        if spec is None:
            close = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean {close[0]}?" if close else "remove it, or see the roles' defaults for the names."
            problems[name] = f"{name} is not a variable of any role: {hint}"
        elif null := ", ".join(_nulls(name, value, spec, specs)):
            problems[name] = f"{null} is null, and has to be something: leave it out, or give it a value."
        elif spec.get("type") == "bool" and not isinstance(value, bool) and value is not None:
            problems[name] = (
                f"{name} is the {'text' if isinstance(value, str) else 'value'} {value!r}, not a boolean: write true "
                f"or false without quotes in the inventory, or -e '{{\"{name}\": true}}' on the command line."
            )
        elif name in ON_TOWER and value is not None and not DIRECTORY.fullmatch(str(value)):
            problems[name] = (
                f"{name} is {value!r}, which is no directory for everybody on the tower: name it by its whole path, "
                "which begins with / and is one line without * ? [ ] and \\."
            )
    return problems


def _nulls(name: str, value: Any, spec: dict[str, Any], specs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What of a variable is null and has to be something: it has another default, or no entry is without it. What an
    entry of llama_service_instances does not name comes from the variable that is called so, as does whether it may be
    null."""
    if value is None and (spec.get("required") or spec.get("default") is not None):
        yield name
    for number, entry in enumerate(value if isinstance(value, list) and "options" in spec else [], 1):
        place = f"entry {number} of {name}"
        if entry is None:
            yield place
        for key, option in spec["options"].items() if isinstance(entry, dict) else ():
            if key in entry:
                own = option if option.get("required") else specs.get(f"{name.rpartition('_')[0]}_{key}", option)
                yield from _nulls(f"{key} of {place}", entry[key], own, specs)


def proxy_problem(environment: Any) -> Optional[str]:
    """One sentence where ``llamatower_proxy_environment`` cannot be used, or would be seen by others; it shows none of
    the values."""
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        return "llamatower_proxy_environment is no dictionary of texts: write it as {https_proxy: http://host:3128}."
    told = [name for name, value in environment.items() if USER_INFO.search(value)]
    if not told:
        return None
    return (
        f"llamatower_proxy_environment has a password in {', '.join(told)}, which sudo writes into the tower's log: "
        "configure it on the tower, as docs/installation.md says."
    )
