# SPDX-License-Identifier: MIT
"""Write what Linux shows of a machine - /proc, /sys and its SMBIOS table - from a short description.

A description has these keys; all have defaults, and what is None is not written::

    board: …                  # as board.py takes it: the SMBIOS table, the CPU and the number of sockets
    cores: 16                 # of each socket
    threads: 2                # of each core
    l3: 4                     # cores that share an L3 cache
    nodes: 1                  # memory nodes of each socket; 0: one for all sockets; "l3": one for each L3 cache
    near: 12                  # distance of two nodes of one socket
    memory_gib: 384
    empty_nodes: [1]          # nodes without memory
    memory_only_nodes: 1      # more nodes, with memory and without CPUs
    flags: …                  # of the CPU
    command_line: quiet
    frequency: {driver: …, governor: …, epp: …}
    boost: true
    container: podman
    maker: …                  # of the board, where DMI says another name than board.vendor
    system: [Giga Computing, R283-Z90]
    bios: [American Megatrends International, LLC., R10]
    arm: false                # /proc/cpuinfo as ARM writes it

CPUs are numbered as Linux does: first one thread of every core, then the second ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.boards.board import BOARD, table

GENOA = BOARD["cpu"]
DEFAULTS: dict[str, Any] = {
    # Nothing to say of its DIMMs.
    "board": BOARD | {"dimm": BOARD["dimm"] | {"ranks": 2}, "empty": []},
    "cores": 16,
    "threads": 2,
    "l3": 4,
    "nodes": 1,
    "near": 12,
    "memory_gib": 384,
    "empty_nodes": [],
    "memory_only_nodes": 0,
    "flags": "fpu lm ht avx2 avx512f x2apic",
    "command_line": "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet",
    "frequency": {"driver": "acpi-cpufreq", "governor": "performance", "epp": None},
    "boost": True,
    "container": None,
    "system": ["Giga Computing", "R283-Z90-AAE1-000"],
    "bios": ["American Megatrends International, LLC.", "R10_F22"],
    "arm": False,
}
# Towers of one fleet, and one of them that is set up and populated differently.
ONE_SOCKET = DEFAULTS["board"] | {"sockets": 1}
USUAL = {"board": ONE_SOCKET, "cores": 8, "l3": 2}
ODD = USUAL | {"board": ONE_SOCKET | {"empty": ["DIMM_P0_K0", "DIMM_P0_L0"]}, "nodes": 4}


def files(changes: dict[str, Any]) -> dict[str, str | bytes]:
    """The files of a machine that differs from the default one, by their paths."""
    machine = DEFAULTS | changes
    board, cpu = machine["board"], machine["board"]["cpu"]
    sockets, cores, threads = board["sockets"], machine["cores"], machine["threads"]
    total = sockets * cores
    count = total * threads
    found: dict[str, str | bytes] = {
        "sys/firmware/dmi/tables/DMI": table(board),
        "sys/class/dmi/id/board_vendor": machine.get("maker", board["vendor"]),
        "sys/class/dmi/id/board_name": board["product"],
        "sys/devices/system/cpu/online": f"0-{count - 1}",
        "sys/devices/system/cpu/smt/active": str(int(threads > 1)),
        "sys/devices/system/cpu/smt/control": "on" if threads > 1 else machine.get("smt_control", "off"),
        "sys/class/iommu/ivhd0/features": "0",
        "proc/meminfo": f"MemTotal: {machine['memory_gib'] * 2**20} kB\n",
    }
    for names, directory in (
        (machine["system"], ("sys_vendor", "product_name")),
        (machine["bios"], ("bios_vendor", "bios_version")),
    ):
        found |= {f"sys/class/dmi/id/{name}": value for name, value in zip(directory, names or [], strict=False)}
    if machine["command_line"] is not None:
        found["proc/cmdline"] = machine["command_line"]
    if machine["container"]:
        found["run/systemd/container"] = machine["container"]
    found["proc/cpuinfo"] = (
        "processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nFeatures\t: fp asimd\n"
        if machine["arm"]
        else f"vendor_id\t: {cpu.get('manufacturer', 'AuthenticAMD')}\ncpu family\t: {cpu['family']}\n"
        f"model\t\t: {cpu['model']}\nmodel name\t: {cpu['brand']}\nstepping\t: {cpu.get('stepping', 0)}\n"
        f"flags\t\t: {machine['flags']}\n"
    )
    if machine["arm"]:
        found["proc/sys/kernel/arch"] = "aarch64"

    def threads_of(chosen: range) -> str:
        return ",".join(f"{chosen[0] + layer * total}-{chosen[-1] + layer * total}" for layer in range(threads))

    for number in range(count):
        core = number % total
        first = core // cores * cores + core % cores // machine["l3"] * machine["l3"]
        here = f"sys/devices/system/cpu/cpu{number}"
        found[f"{here}/topology/physical_package_id"] = str(core // cores)
        found[f"{here}/topology/core_cpus_list"] = ",".join(str(core + layer * total) for layer in range(threads))
        last = min(first + machine["l3"], (core // cores + 1) * cores)
        found[f"{here}/cache/index3/shared_cpu_list"] = threads_of(range(first, last))
        found[f"{here}/cache/index3/level"] = "3"
        found[f"{here}/cache/index3/size"] = "32768K"
    if machine["frequency"]:
        entry = machine["frequency"]
        for number in range(min(count, 4)):
            policy = f"sys/devices/system/cpu/cpufreq/policy{number}"
            found[f"{policy}/scaling_driver"] = entry["driver"]
            found[f"{policy}/scaling_governor"] = entry["governor"]
            found[f"{policy}/scaling_available_governors"] = "performance powersave"
            if entry.get("epp"):
                found[f"{policy}/energy_performance_preference"] = entry["epp"]
        found["sys/devices/system/cpu/cpufreq/boost"] = str(int(machine["boost"]))
    return found | _nodes(machine, sockets, cores, threads_of)


def _nodes(machine: dict[str, Any], sockets: int, cores: int, threads_of: Any) -> dict[str, str | bytes]:
    each = cores // machine["l3"] if machine["nodes"] == "l3" else machine["nodes"]
    with_cpus = sockets * each if each else 1
    count = with_cpus + machine["memory_only_nodes"]
    size = sockets * cores // with_cpus
    filled = count - len(machine["empty_nodes"])
    found: dict[str, str | bytes] = {"sys/devices/system/node/online": f"0-{count - 1}" if count > 1 else "0"}
    for node in range(count):
        here = f"sys/devices/system/node/node{node}"
        kilobytes = 0 if node in machine["empty_nodes"] else machine["memory_gib"] * 2**20 // filled
        found[f"{here}/cpulist"] = threads_of(range(node * size, node * size + size)) if node < with_cpus else ""
        found[f"{here}/meminfo"] = f"Node {node} MemTotal: {kilobytes} kB\nNode {node} MemFree: {kilobytes} kB\n"
        distances = [
            10 if other == node else machine["near"] if each and other // each == node // each else 32
            for other in range(count)
        ]
        found[f"{here}/distance"] = " ".join(map(str, distances))
    return found


def write(root: Path, found: Mapping[str, str | bytes]) -> Path:
    """Write files of a machine below a directory."""
    for name, text in found.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
    return root
