# SPDX-License-Identifier: MIT
"""The facts of a tower that rules may ask, and whose menus its BIOS has; nothing that Linux does not show."""

from __future__ import annotations

import re
from typing import Optional, TypedDict

from ..limits import usable
from ..memory.bandwidth import channels_in_use
from ..memory.cpus import ccd_links, cpu_memory
from ..memory.document import MemoryChannels
from ..service.numa_policy import memory_nodes
from ..sysfs import format_cpu_list, parse_cpu_list
from ..tower import cpu_signature, l3_counts
from ..tower_document import Hsmp, L3Cache, Tower


class MachineFacts(TypedDict):
    """The machine and its CPUs."""

    machine: Optional[str]  # real, guest or container
    architecture: Optional[str]  # as uname -m says it
    cpu: Optional[str]  # AMD, Intel, ARM or other
    cpu_name: Optional[str]  # brand of the CPU
    cpu_kind: Optional[str]  # its row in memory/cpus.py, such as EPYC 9004 (Genoa); other where it is in none
    server: Optional[str]  # yes where its boards are servers' or workstations'
    fabric: Optional[str]  # generation of the fabric of an EPYC or Threadripper that has the NPS setting: zen2 to zen5
    sockets: Optional[int]  # CPU packages
    cpus: Optional[int]  # logical CPUs online
    cores: Optional[int]  # physical cores online
    smt: Optional[str]  # on, off, or none where the CPU has none
    iommu: Optional[str]  # on or off
    x2apic: Optional[str]  # yes or no
    command_line: Optional[str]  # of the kernel


class NodeFacts(TypedDict):
    """Its memory nodes and L3 caches."""

    nodes: Optional[int]  # all memory nodes of Linux
    nodes_per_socket: Optional[int]  # nodes with CPUs in each socket; 0 where one node spans the sockets
    empty_nodes: Optional[int]  # nodes with CPUs and without memory
    memory_only_nodes: Optional[int]  # nodes with memory and without CPUs
    services: Optional[str]  # whole, or part where a service may not use all CPUs, memory nodes, CPU time or memory
    services_cores: Optional[int]  # cores that a service may keep busy
    services_nodes: Optional[str]  # memory nodes that it may use
    distances: Optional[str]  # distances of the SLIT, each once: in a node, in a socket, beyond
    l3_per_socket: Optional[int]  # L3 caches of each socket
    l3_as_numa: Optional[str]  # yes where the nodes are L3 caches, no where they are not, unknown where both fit
    # nodes per socket where they are those of AMD's NPS setting: not of guests, nor with a numa_option
    nps: Optional[int]
    # off or fake where numa= or acpi= of the kernel command line hides or makes up nodes, else none
    numa_option: Optional[str]


class FrequencyFacts(TypedDict):
    """How Linux sets the clocks of the CPUs."""

    frequency_mode: Optional[str]  # active where the CPU picks its clocks by a preference, passive where Linux does
    frequency_driver: Optional[str]  # cpufreq driver
    hwp: Optional[str]  # yes or no: hardware P-states of Intel, which Linux uses unless intel_pstate=no_hwp
    governor: Optional[str]  # governors in use
    governors: Optional[str]  # governors the driver has
    epp: Optional[str]  # energy/performance preferences in use
    boost: Optional[str]  # on or off


class MemoryFacts(TypedDict):
    """The way to the memory, and its DIMMs; a sum is None where a part of it is."""

    fabric_mhz: Optional[str]  # clock of the data fabric now, by HSMP
    configured_mts: Optional[int]  # the slowest DIMM's speed, MT/s
    rated_mts: Optional[int]  # the fastest DIMM's rating, MT/s
    channels: Optional[int]  # channels of all CPUs
    channels_populated: Optional[int]  # channels with a DIMM
    memory_advice: Optional[str]  # codes of what memory_channels_info advises


class Facts(MachineFacts, NodeFacts, FrequencyFacts, MemoryFacts):
    """What can be asked of a tower; a fact that Linux does not show is None, and of several values there is a list with
    commas."""


# Their names, in this order.
FACTS = tuple(Facts.__annotations__)

# Names of boards, systems and firmware -> the column of menus; the first that fits.
VENDORS = (
    ("dell", r"Dell"),
    ("hpe", r"HPE|Hewlett"),
    ("lenovo", r"Lenovo"),
    ("supermicro", r"Supermicro|Super Micro"),
    ("gigabyte", r"Giga ?-?byte|Giga Computing"),
    ("asus", r"ASUS"),
    ("ami", r"American Megatrends|AMI\b"),
)

# Distances that AMD's firmware gives by default to L3 caches of one interleaved domain, and to NPS quarters of a
# socket (its own help text of "ACPI SLIT Distance Control").
SLIT_L3, SLIT_QUARTER = 11, 12


def _has(command_line: Optional[str], *options: str) -> bool:
    """Whether the kernel command line has a word that begins with one of these; what follows ``--`` is for init."""
    return any(word.startswith(options) for word in (command_line or "").split(" -- ")[0].split())


def _option(command_line: Optional[str]) -> Optional[str]:
    """What the kernel command line makes of the nodes: ``off``, ``fake`` or ``none``, which is nothing.

    ``acpi=off`` and ``numa=noacpi`` hide the nodes as ``numa=off`` does; ``numa=nohmat`` leaves them as they are. Linux
    reads each of several such words.
    """
    if command_line is None:
        return None
    words = command_line.split(" -- ")[0].split()
    if {"acpi=off", "numa=off", "numa=noacpi"} & set(words):
        return "off"
    return "fake" if _has(command_line, "numa=fake=") else "none"


def _within_socket(tower: Tower, l3: list[L3Cache]) -> Optional[set[int]]:
    """Distances between different nodes of one socket; None where the table is not whole."""
    package = {cpu: cache["package"] for cache in l3 for cpu in parse_cpu_list(cache["cpus"])}
    nodes = [node for node in tower["nodes"] if node["cpus"]]
    if any(len(node["distances"]) != len(tower["nodes"]) for node in nodes):
        return None
    order = {node["node"]: index for index, node in enumerate(tower["nodes"])}
    return {
        node["distances"][order[other["node"]]]
        for node in nodes
        for other in nodes
        if node is not other and package[node["cpus"][0]] == package[other["cpus"][0]]
    }


def _l3_as_numa(tower: Tower) -> Optional[str]:
    """Whether the nodes are L3 caches. NPS4 of a CPU with four of them looks the same but for the distances."""
    l3, per_socket = tower["l3"], tower["nodes_per_socket"]
    if per_socket is not None and per_socket < 2:
        return "no"
    if not l3 or per_socket is None:
        return None
    caches = {frozenset(parse_cpu_list(cache["cpus"])) for cache in l3}
    if {frozenset(node["cpus"]) for node in tower["nodes"] if node["cpus"]} != caches:
        return "no"
    if per_socket not in (2, 4):
        return "yes"
    distances = _within_socket(tower, l3)
    return {SLIT_L3: "yes", SLIT_QUARTER: "no"}.get(distances.pop()) if distances and len(distances) == 1 else None


def _l3_per_socket(tower: Tower) -> Optional[int]:
    counts = set(l3_counts(tower["l3"]) or [])
    return counts.pop() if len(counts) == 1 else None


def _empty_nodes(tower: Tower) -> Optional[int]:
    """Nodes that have CPUs and no memory; None unless the nodes make up the memory of the machine.

    ``mem=`` and ``memmap=`` on the kernel command line take memory from nodes that have DIMMs.
    """
    total = sum(node["memory_bytes"] for node in tower["nodes"])
    if _has(tower["command_line"], "mem=", "memmap="):
        return None
    if not tower["memory_bytes"] or total < 0.995 * tower["memory_bytes"]:
        return None
    return sum(1 for node in tower["nodes"] if node["cpus"] and not node["memory_bytes"])


def _memory_only_nodes(tower: Tower) -> Optional[int]:
    """Nodes that have memory and no CPUs; None where CPUs are offline, or left out by the kernel command line."""
    if tower["nodes_per_socket"] is None or _has(tower["command_line"], "nr_cpus=", "maxcpus=", "nosmp"):
        return None
    return sum(1 for node in tower["nodes"] if node["memory_bytes"] and not node["cpus"])


def _cpu(tower: Tower) -> Optional[str]:
    names = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
    vendor = tower["cpu"]["vendor"]
    if vendor in names:
        return names[vendor]
    return "ARM" if (tower["architecture"] or "").startswith(("aarch64", "arm")) else vendor and "other"


def _fabric(tower: Tower) -> Optional[str]:
    cpu = tower["cpu"]
    links = ccd_links(*cpu_signature(tower), cpu["model"] or "") if _cpu(tower) == "AMD" else None
    return links[0] if links else None


def _hwp(tower: Tower) -> Optional[str]:
    if _cpu(tower) != "Intel" or not tower["cpu"]["flags"]:
        return None
    return "yes" if "hwp" in tower["cpu"]["flags"] and not _has(tower["command_line"], "intel_pstate=no_hwp") else "no"


def _machine_facts(tower: Tower) -> MachineFacts:
    brand, control, iommu = tower["cpu"]["model"], tower["smt_control"], tower["iommu"]
    memory = cpu_memory(brand or "", *cpu_signature(tower))
    guest = {True: "guest", False: "real", None: None}[tower["hypervisor"]]
    return {
        "machine": "container" if tower["container"] else guest,
        "architecture": tower["architecture"],
        "cpu": _cpu(tower),
        "cpu_name": brand,
        "cpu_kind": memory.name if memory else "other" if brand else None,
        "server": ("yes" if memory.server else "no") if memory else None,
        "fabric": _fabric(tower),
        "sockets": tower["sockets"],
        "cpus": tower["cpus"],
        "cores": tower["cores"],
        "smt": "none" if control in ("notsupported", "notimplemented") else _switch(tower["smt_active"]),
        "iommu": _switch(bool(iommu["units"]) if iommu else None),
        "x2apic": {True: "yes", False: "no", None: None}[tower["x2apic"]],
        "command_line": tower["command_line"],
    }


def _node_facts(tower: Tower) -> NodeFacts:
    l3_as_numa, per_socket = _l3_as_numa(tower), tower["nodes_per_socket"]
    numa_option = _option(tower["command_line"])
    own = usable(tower)
    by_firmware = numa_option == "none" and not tower["hypervisor"]
    return {
        "nodes": len(tower["nodes"]) or None,
        "nodes_per_socket": per_socket,
        "empty_nodes": _empty_nodes(tower),
        "memory_only_nodes": _memory_only_nodes(tower),
        "services": ("whole" if own == tower else "part") if own["cores"] else None,
        "services_cores": own["cores"],
        "services_nodes": format_cpu_list(memory_nodes(own)) or None,
        "distances": ", ".join(map(str, sorted({way for node in tower["nodes"] for way in node["distances"]}))) or None,
        "l3_per_socket": _l3_per_socket(tower),
        "l3_as_numa": l3_as_numa,
        "nps": per_socket if _fabric(tower) and l3_as_numa == "no" and by_firmware else None,
        "numa_option": numa_option,
    }


def _frequency_facts(tower: Tower) -> FrequencyFacts:
    found = tower["frequency"]
    driver = found["driver"] if found else None
    return {
        "frequency_mode": driver and ("active" if driver in ("intel_pstate", "amd-pstate-epp") else "passive"),
        "frequency_driver": driver,
        "hwp": _hwp(tower),
        "governor": found["governor"] if found else None,
        "governors": ",".join(found["governors"]) or None if found else None,
        "epp": found["energy_performance_preference"] if found else None,
        "boost": _switch(found["boost"]) if found else None,
    }


def _memory_facts(hsmp: Optional[Hsmp], channels: Optional[MemoryChannels]) -> MemoryFacts:
    dimms = [dimm for dimm in (channels and channels["dimms"]) or [] if dimm["populated"]]
    used, total = channels_in_use(channels)
    return {
        "fabric_mhz": ", ".join(str(value) for value in (hsmp["fabric_mhz"] if hsmp else []) if value) or None,
        "configured_mts": min((dimm["configured_mts"] for dimm in dimms if dimm["configured_mts"]), default=None),
        "rated_mts": max((dimm["rated_mts"] for dimm in dimms if dimm["rated_mts"]), default=None),
        "channels": total,
        "channels_populated": used,
        "memory_advice": ",".join(entry["code"] for entry in (channels["advice"] if channels else [])) or None,
    }


def facts(tower: Tower, channels: Optional[MemoryChannels] = None) -> Facts:
    """The facts, from what tower_info and memory_channels_info return."""
    return {
        **_machine_facts(tower),
        **_node_facts(tower),
        **_frequency_facts(tower),
        **_memory_facts(tower["hsmp"], channels),
    }


def _switch(value: Optional[bool]) -> Optional[str]:
    return {True: "on", False: "off", None: None}[value]


def vendor_of(tower: Tower) -> Optional[str]:
    """Whose menus the machine has, as a key of VENDORS; the maker of the board before that of its firmware."""
    for part in (tower["system"]["vendor"], tower["board"]["vendor"], tower["bios"]["vendor"]):
        for name, pattern in VENDORS:
            if re.search(pattern, part or "", re.I):
                return name
    return None
