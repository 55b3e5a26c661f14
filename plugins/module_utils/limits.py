# SPDX-License-Identifier: MIT
"""What a service may use of a machine, which is less than the machine has where somebody says so.

systemd itself (process 1) has the limits of its container, and not the CPUs that isolcpus= keeps for others; what it
starts inherits them. The cgroups have them again, with those of the slice of the servers. Drop-ins say what will hold
once the slice is there. A login has limits of its own, which say nothing of a service.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from .sysfs import parse_cpu_list, read_int, read_text
from .tower_document import Allowed, Node, Tower

SLICE = "llama.slice"
# By whom systemd is told more of the slice and its services: people, and `systemctl set-property`.
DROP_INS = [
    f"etc/systemd/{place}/{unit}.d/*.conf"
    for place in ("system", "system.control")
    for unit in (SLICE, "llama-server@.service")
]


def allowed(root: Path, online: list[int], nodes: list[int]) -> Allowed:
    """What services may use, of these CPUs and these nodes with memory."""
    groups = root / "sys/fs/cgroup"
    status = read_text(root / "proc/1/status") or ""
    words = _drop_ins(root)
    cpus, mems = set(online), set(nodes)
    for told in (
        _field(status, "Cpus_allowed_list"),
        *_files(groups, "cpuset.cpus.effective", "cpuset/", "cpuset.effective_cpus"),
        *(words.get(name) for name in ("AllowedCPUs", "CPUAffinity")),
    ):
        cpus = cpus & set(_numbers(told)) or cpus
    for told in (
        _field(status, "Mems_allowed_list"),
        *_files(groups, "cpuset.mems.effective", "cpuset/", "cpuset.effective_mems"),
        words.get("AllowedMemoryNodes"),
    ):
        mems = mems & set(_numbers(told)) or mems
    quotas = [*_quotas(groups), _percent(words.get("CPUQuota"))]
    limits = [_bytes(text) for text in _files(groups, "memory.max", "memory/", "memory.limit_in_bytes")]
    return {
        "whole": (cpus, mems) == (set(online), set(nodes)),
        "cpus": sorted(cpus),
        "cores": _cores(root, cpus),
        "nodes": sorted(mems),
        "quota": min((quota for quota in quotas if quota), default=None),
        "memory_bytes": min((limit for limit in limits if limit), default=None),
    }


def usable(tower: Tower) -> Tower:
    """The machine as a service sees it: nodes without what it may not use, and as many cores as it may keep busy."""
    given = tower.get("allowed")
    if not given:  # read by an earlier version
        return tower
    nodes = tower["nodes"]
    own = [_own(node, given) for node in nodes]
    memory = tower["memory_bytes"]
    if any(node["memory_bytes"] and node["node"] not in given["nodes"] for node in nodes):
        memory = sum(node["memory_bytes"] for node in own)
    cores = given["cores"] or tower["cores"]
    found: Tower = {
        **tower,
        "nodes": own,
        "cpus": len(given["cpus"]) or tower["cpus"],
        "cores": max(1, min(cores, int(given["quota"]))) if cores and given["quota"] else cores,
        "memory_bytes": min(memory, given["memory_bytes"]) if memory and given["memory_bytes"] else memory,
    }
    return found


def _own(node: Node, given: Allowed) -> Node:
    own: Node = {**node, "cpus": [cpu for cpu in node["cpus"] if cpu in given["cpus"]]}
    if node["node"] not in given["nodes"]:
        own["memory_bytes"] = own["free_bytes"] = 0
    return own


def _field(status: str, name: str) -> Optional[str]:
    found = re.search(rf"^{name}:\s*(\S+)$", status, re.M)
    return found[1] if found else None


def _files(groups: Path, name: str, controller: str, former: str) -> list[Optional[str]]:
    """What the cgroup of everything and that of the slice say; the second names are those of cgroups of version 1."""
    return [
        read_text(groups / f"{place}{file}")
        for place, file in (("", name), (f"{SLICE}/", name), (controller, former), (f"{controller}{SLICE}/", former))
    ]


def _quotas(groups: Path) -> list[Optional[float]]:
    found: list[Optional[float]] = []
    for place in ("", f"{SLICE}/"):
        most, _, period = (read_text(groups / f"{place}cpu.max") or "").partition(" ")
        found.append(int(most) / int(period) if most.isdigit() and period.isdigit() else None)
        quota, each = (read_int(groups / f"cpu/{place}cpu.cfs_{name}_us") for name in ("quota", "period"))
        found.append(quota / each if quota and each and quota > 0 else None)
    return found


def _drop_ins(root: Path) -> dict[str, str]:
    """The settings in drop-ins. Lists grow with each line, and an empty line begins them anew (systemd.unit(5))."""
    words: dict[str, str] = {}
    for path in sorted((path for pattern in DROP_INS for path in root.glob(pattern)), key=lambda path: path.name):
        for line in (read_text(path) or "").splitlines():
            name, separator, value = line.partition("=")
            if separator and name.strip().isalpha():
                before = words.get(name.strip(), "") if value.strip() else ""
                words[name.strip()] = f"{before} {value.strip()}".strip()
    return words


def _numbers(text: Optional[str]) -> list[int]:
    """The numbers of a list with commas or blanks; [] for words such as numa."""
    return parse_cpu_list(re.sub(r"\s+", ",", (text or "").strip()))


def _percent(text: Optional[str]) -> Optional[float]:
    """The last of some quotas, ``150%``, in CPUs."""
    found = re.fullmatch(r"(?:.* )?([\d.]+)%", text or "")
    return float(found[1]) / 100 if found else None


def _bytes(text: Optional[str]) -> Optional[int]:
    return int(text) if text and text.isdigit() else None


def _cores(root: Path, cpus: set[int]) -> Optional[int]:
    """How many cores some CPUs are of; None where one does not say."""
    places = [root / f"sys/devices/system/cpu/cpu{cpu}/topology" for cpu in cpus]
    cores = {read_text(place / "core_cpus_list") or read_text(place / "thread_siblings_list") for place in places}
    return len(cores) if cores and None not in cores else None
