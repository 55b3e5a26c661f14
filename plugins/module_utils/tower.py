# SPDX-License-Identifier: MIT
"""What Linux says about a tower: operating system, CPUs, NUMA nodes, memory, huge pages, disks.

Everything is read from /etc/os-release, /proc and /sys below a root directory, so that a saved
copy of those files answers like the machine itself. Nothing is executed and nothing is written.
A value that the machine does not show is None, never a guess. Sizes are bytes unless a name says
otherwise; CPU, package and node numbers are the kernel's.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

from .disks import disk_of
from .limits import allowed
from .strain import strain
from .sysfs import (
    format_cpu_list,
    node_meminfo,
    parse_cpu_list,
    parse_cpuinfo,
    parse_meminfo,
    parse_os_release,
    read_int,
    read_text,
    selected,
)
from .tower_document import (
    Board,
    Cpu,
    Edac,
    Frequency,
    Hsmp,
    HugePagePool,
    Identity,
    Iommu,
    L3Cache,
    Node,
    OperatingSystem,
    Security,
    System,
    Topology,
    Tower,
    TransparentHugePages,
)

# What the running kernel is compared with after tuning; sysctl name -> file below /proc/sys.
SYSCTLS = (
    "kernel.numa_balancing",
    "vm.zone_reclaim_mode",
    "vm.swappiness",
    "vm.overcommit_memory",
)

# What is told of the kernel command line: memory, its nodes and huge pages, CPUs, their clocks and idle states, IOMMUs.
KERNEL_WORDS = re.compile(
    r"acpi|(amd_|intel_)?iommu(\..*)?|(amd|intel)_pstate(\..*)?|clocksource|cma|default_hugepagesz|huge(pages|tlb).*|idle"
    r"|(intel_idle|processor)\.max_cstate|irqaffinity|isolcpus|kernelcore|maxcpus|mem|memmap|mitigations|movable_node"
    r"|movablecore|nohz(_full)?|nosmp|nosmt|nox2apic|nr_cpus|numa.*|possible_cpus|preempt|rcu_nocbs|transparent_hugepage"
    r"|tsc|zswap\..*"
)

# Guests: their CPUs and nodes are what somebody configured, and what their SMBIOS table says of slots is made up.
VIRTUAL = re.compile(
    r"QEMU|KVM|Bochs|VMware|VirtualBox|innotek|\bXen\b|HVM domU|Virtual|Parallels|Google Compute|OpenStack|oVirt|RHEV"
    r"|AHV|Alibaba Cloud|Tencent Cloud|bhyve|OpenNebula|DigitalOcean|vServer|Amazon EC2(?!.*metal)|Standard PC"
    r"|Cloud Hypervisor",
    re.I,
)


def kernel_words(command_line: str | None) -> str | None:
    """The words of a kernel command line that concern this project, without those of init behind ``--``.

    Others may be secrets: keys of disks, passwords of consoles, tokens of installers.
    """
    if command_line is None:
        return None
    words = re.split(r"\s--(?:\s|$)", f" {command_line}", maxsplit=1)[0].split()
    return " ".join(word for word in words if KERNEL_WORDS.fullmatch(word.partition("=")[0].replace("-", "_")))


def _operating_system(root: Path) -> OperatingSystem:
    release = parse_os_release(read_text(root / "etc/os-release") or read_text(root / "usr/lib/os-release") or "")
    return {
        "id": release.get("ID"),
        "like": release.get("ID_LIKE", "").split(),
        "base_codename": release.get("UBUNTU_CODENAME")
        or release.get("DEBIAN_CODENAME")
        or release.get("VERSION_CODENAME"),
        "version_id": release.get("VERSION_ID"),
        "codename": release.get("VERSION_CODENAME"),
        "name": release.get("PRETTY_NAME") or release.get("NAME"),
        "systemd": (root / "run/systemd/system").is_dir(),
    }


def _security(root: Path) -> Security:
    enforcing = read_int(root / "sys/fs/selinux/enforce")
    return {
        "selinux": None if enforcing is None else "enforcing" if enforcing else "permissive",
        "apparmor": read_text(root / "sys/module/apparmor/parameters/enabled") == "Y",
    }


def _container(root: Path) -> str | None:
    """The kind of container (``podman``, ``docker``, ``lxc``, …) or None on a machine of its own."""
    kind = read_text(root / "run/systemd/container")
    if kind:
        return kind
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    # containerd and CRI-O leave no file of their own; Kubernetes does, and cgroups of version 1 have their names.
    if (root / "run/secrets/kubernetes.io").exists() or (root / "var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    inside = re.search(r"/(docker|kubepods|lxc|libpod|containerd)\b", read_text(root / "proc/1/cgroup") or "")
    return inside.group(1).replace("kubepods", "kubernetes") if inside else None


def _architecture(root: Path, processor: Cpu) -> str | None:
    """As ``uname -m`` says it; of saved files, what the kernel (since 6.1) or the CPU's flags tell."""
    told = read_text(root / "proc/sys/kernel/arch") or (platform.machine() if str(root) == "/" else None)
    return told or ("x86_64" if "lm" in processor["flags"] else None)


def _machine(root: Path, processor: Cpu) -> Identity:
    """Board, system and firmware by their DMI names, and whether this is a guest (None where nothing tells)."""
    dmi = root / "sys/class/dmi/id"
    board: Board = {"vendor": read_text(dmi / "board_vendor"), "name": read_text(dmi / "board_name")}
    system: System = {"vendor": read_text(dmi / "sys_vendor"), "product": read_text(dmi / "product_name")}
    names = " ".join(name for name in (board["vendor"], system["vendor"], system["product"]) if name)
    guest = "hypervisor" in processor["flags"] or bool(VIRTUAL.search(names))
    return {
        "hypervisor": guest if guest or names or "lm" in processor["flags"] else None,
        "board": board,
        "system": system,
        "bios": {
            "vendor": read_text(dmi / "bios_vendor"),
            "version": read_text(dmi / "bios_version"),
            "date": read_text(dmi / "bios_date"),
        },
    }


def _size(text: str | None) -> int | None:
    """Bytes of a cache's size: ``"32768K"`` is 33554432."""
    match = re.fullmatch(r"(\d+)([KMG]?)", text or "")
    return int(match.group(1)) * 1024 ** " KMG".index(match.group(2) or " ") if match else None


def _packages(system: Path) -> dict[int, int | None]:
    """The package of each online CPU."""
    online = parse_cpu_list(read_text(system / "cpu/online") or "")
    return {cpu: read_int(system / f"cpu/cpu{cpu}/topology/physical_package_id") for cpu in online}


def _l3_caches(system: Path, packages: dict[int, int | None]) -> list[L3Cache] | None:
    """Every L3 cache with its package, CPUs and size; None unless each online CPU shows one.

    A core that is offline shows no cache, and there may be more caches than are seen: None, too. CPUs that an earlier
    one has named as sharing its cache are not asked: 24 reads instead of 768.
    """
    caches: list[L3Cache] = []
    seen: set[int] = set()
    if _cores_offline(system):
        return None
    for cpu in packages:
        if cpu in seen:
            continue
        cache = system / f"cpu/cpu{cpu}/cache/index3"
        shared = parse_cpu_list(read_text(cache / "shared_cpu_list") or "")
        if cpu not in shared or read_text(cache / "level") not in (None, "3"):
            return None
        seen.update(shared)
        size = _size(read_text(cache / "size"))
        caches.append({"package": packages[cpu], "cpus": format_cpu_list(shared), "size_bytes": size})
    return caches or None


def l3_counts(caches: list[L3Cache] | None) -> list[int] | None:
    """How many L3 caches each CPU package has, in the order of the package numbers; None where that is unknown."""
    packages = [cache["package"] for cache in caches or []]
    known = [package for package in packages if package is not None]
    return [known.count(package) for package in sorted(set(known))] if known and known == packages else None


def l3_domains(sysfs: str | Path = "/sys") -> list[int] | None:
    """The same of what a copy of /sys shows."""
    system = Path(sysfs) / "devices/system"
    return l3_counts(_l3_caches(system, _packages(system)))


def guest(sysfs: str | Path = "/sys") -> bool:
    """Whether the CPUs say that they are a guest's, by /proc beside /sys; ARM's do not say."""
    return "hypervisor" in parse_cpuinfo(read_text(Path(sysfs).parent / "proc/cpuinfo") or "")["flags"]


def cpu_signature(tower: Tower) -> tuple[int | None, int | None]:
    """Family and model of the CPU; None of a guest, where the CPU is what its name says and the host may show any."""
    cpu = tower["cpu"]
    return (None, None) if tower.get("hypervisor") else (cpu.get("family"), cpu.get("model_number"))


def _topology(root: Path) -> Topology:
    system = root / "sys/devices/system"
    packages = _packages(system)
    cores: set[str | None] = set()
    for cpu in packages:
        topology = system / f"cpu/cpu{cpu}/topology"
        siblings = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
        cores.add(siblings)
    smt = read_int(system / "cpu/smt/active")
    # ARM says -1 where the firmware names no package.
    known = packages and all(package is not None and package >= 0 for package in packages.values())
    return {
        "cpus": len(packages) or None,
        "cores": len(cores) if cores and None not in cores else None,
        "sockets": len(set(packages.values())) if known else None,
        "smt_active": None if smt is None else smt == 1,
        "smt_control": read_text(system / "cpu/smt/control"),
        "l3": _l3_caches(system, packages),
    }


def _cores_offline(system: Path) -> bool:
    """Whether CPUs are offline (maxcpus=, or by hand) that are not merely the second threads of cores (nosmt)."""
    online, present = (parse_cpu_list(read_text(system / "cpu" / name) or "") for name in ("online", "present"))
    second_threads = read_text(system / "cpu/smt/control") in ("off", "forceoff") and len(present) <= 2 * len(online)
    return bool(set(present) - set(online)) and not second_threads


def _nodes_per_socket(root: Path, nodes: list[Node], sockets: int | None) -> int | None:
    """Nodes with CPUs in each socket; 0 where one node spans the sockets, which AMD calls NPS0.

    None unless every online CPU is in a node: then a part of the nodes was not to be seen. Nodes
    without CPUs are memory of another kind (CXL, HBM), or nodes whose CPUs are all offline: None where some are.
    """
    system = root / "sys/devices/system"
    online = parse_cpu_list(read_text(system / "cpu/online") or "")
    if _cores_offline(system) and any(node["memory_bytes"] and not node["cpus"] for node in nodes):
        return None
    if not sockets or not online or sorted(cpu for node in nodes for cpu in node["cpus"]) != sorted(online):
        return None
    count = sum(1 for node in nodes if node["cpus"])
    if count == 1 < sockets:
        return 0
    return None if count % sockets else count // sockets


def edac(sysfs: str | Path = "/sys") -> Edac | None:
    """What EDAC counts: ``size_bytes``, ``corrected`` and ``uncorrected`` errors; None without it."""
    controllers = sorted((Path(sysfs) / "devices/system/edac/mc").glob("mc[0-9]*"))
    if not controllers:
        return None

    def total(name: str) -> int:
        return sum(read_int(controller / name) or 0 for controller in controllers)

    return {"size_bytes": total("size_mb") * 2**20, "corrected": total("ce_count"), "uncorrected": total("ue_count")}


def _node(path: Path, number: int) -> Node:
    memory = node_meminfo(number, path.parent)
    pools: dict[str, HugePagePool] = {}
    for pool in sorted(path.glob("hugepages/hugepages-*kB")):
        size_kb = pool.name[len("hugepages-") : -len("kB")]
        pools[size_kb] = {
            "total": read_int(pool / "nr_hugepages"),
            "free": read_int(pool / "free_hugepages"),
        }
    return {
        "node": number,
        "cpus": parse_cpu_list(read_text(path / "cpulist") or ""),
        "memory_bytes": memory.get("MemTotal", 0),
        "free_bytes": memory.get("MemFree", 0),
        "distances": [int(value) for value in (read_text(path / "distance") or "").split() if value.isdigit()],
        "hugepages": pools,
    }


def _nodes(root: Path) -> list[Node]:
    base = root / "sys/devices/system/node"
    return [_node(base / f"node{number}", number) for number in parse_cpu_list(read_text(base / "online") or "")]


def _frequency(root: Path) -> Frequency | None:
    policies = sorted((root / "sys/devices/system/cpu/cpufreq").glob("policy*"))
    if not policies:
        return None

    def every(name: str) -> str | None:
        values = {read_text(policy / name) for policy in policies} - {None}
        return ",".join(sorted(str(value) for value in values)) or None

    cpu = root / "sys/devices/system/cpu"
    boost, no_turbo = read_int(cpu / "cpufreq/boost"), read_int(cpu / "intel_pstate/no_turbo")
    return {
        "driver": every("scaling_driver"),
        "governor": every("scaling_governor"),
        "governors": (read_text(policies[0] / "scaling_available_governors") or "").split(),
        "energy_performance_preference": every("energy_performance_preference"),
        "boost": boost == 1 if boost is not None else no_turbo == 0 if no_turbo is not None else None,
        "amd_pstate": read_text(cpu / "amd_pstate/status"),
        "intel_pstate": read_text(cpu / "intel_pstate/status"),
    }


def _iommu(root: Path) -> Iommu | None:
    """IOMMUs that Linux uses, their groups, and what kinds of translation these have."""
    units = root / "sys/class/iommu"
    if not units.is_dir():
        return None
    groups = list((root / "sys/kernel/iommu_groups").glob("*"))
    kinds = {read_text(group / "type") for group in groups} - {None}
    return {"units": len(list(units.iterdir())), "groups": len(groups), "types": sorted(map(str, kinds))}


def _hsmp(root: Path) -> Hsmp | None:
    """What AMD's Host System Management Port shows; None where its driver is not loaded.

    The clocks are those of this moment, one of each socket, from the files of hsmp_acpi (Linux 6.16 and
    later; Documentation/arch/x86/amd_hsmp.rst); older drivers show none.
    """
    if not (root / "dev/hsmp").exists():
        return None
    ports = sorted((root / "sys/devices/platform").glob("AMDI0097:*"))
    return {
        "protocol": read_int(ports[0] / "protocol_version") if ports else None,
        "fabric_mhz": [read_int(port / "fclk_input") for port in ports],
        "memory_mhz": [read_int(port / "mclk_input") for port in ports],
    }


def _transparent_huge_pages(root: Path) -> TransparentHugePages | None:
    base = root / "sys/kernel/mm/transparent_hugepage"
    enabled = selected(read_text(base / "enabled"))
    if enabled is None:
        return None
    return {"enabled": enabled, "defrag": selected(read_text(base / "defrag"))}


def read_tower(root: str | Path = "/", paths: list[str] | None = None) -> Tower:
    """Everything above in one dictionary, the ``tower`` that ``tower_info`` returns.

    ``paths`` names directories whose file systems are described under ``disks``, keyed by path.
    """
    root = Path(root)
    memory = parse_meminfo(read_text(root / "proc/meminfo") or "")
    processor = parse_cpuinfo(read_text(root / "proc/cpuinfo") or "")
    topology, nodes = _topology(root), _nodes(root)
    online = parse_cpu_list(read_text(root / "sys/devices/system/cpu/online") or "")
    return {
        "source": str(root),
        "os": _operating_system(root),
        "kernel": read_text(root / "proc/sys/kernel/osrelease"),
        "boot_id": read_text(root / "proc/sys/kernel/random/boot_id"),
        "architecture": _architecture(root, processor),
        "command_line": kernel_words(read_text(root / "proc/cmdline")),
        "container": _container(root),
        **_machine(root, processor),
        "cpu": processor,
        **topology,
        "x2apic": "x2apic" in processor["flags"] if "lm" in processor["flags"] else None,
        "nodes": nodes,
        "allowed": allowed(root, online, [node["node"] for node in nodes if node["memory_bytes"]]),
        "security": _security(root),
        "nodes_per_socket": _nodes_per_socket(root, nodes, topology["sockets"]),
        "memory_bytes": memory.get("MemTotal"),
        "swap_bytes": memory.get("SwapTotal"),
        "thp": _transparent_huge_pages(root),
        "frequency": _frequency(root),
        "iommu": _iommu(root),
        "hsmp": _hsmp(root),
        "strain": strain(root),
        "sysctl": {name: read_int(root / "proc/sys" / name.replace(".", "/")) for name in SYSCTLS},
        "disks": {path: disk_of(path, root) for path in paths or []},
    }
