# SPDX-License-Identifier: MIT
"""What ``tower_info`` returns: a machine as its /proc and /sys show it (tower.py).

All keys are always there; None is what the machine does not show. Sizes are bytes unless a name says otherwise; CPU,
package and node numbers are the kernel's.
"""

from __future__ import annotations

from typing import TypedDict


class OperatingSystem(TypedDict):
    """Of /etc/os-release; ``systemd`` is whether it runs.

    ``like`` are the systems that it is made from, and ``base_codename`` is the release of those; it is its own
    ``codename`` where it is made from none."""

    id: str | None
    like: list[str]
    base_codename: str | None
    version_id: str | None
    codename: str | None
    name: str | None
    systemd: bool


class Board(TypedDict):
    """The mainboard, by DMI."""

    vendor: str | None
    name: str | None


class System(TypedDict):
    """The machine, by DMI."""

    vendor: str | None
    product: str | None


class Bios(TypedDict):
    """The firmware, by DMI; its date is written as the vendor writes it."""

    vendor: str | None
    version: str | None
    date: str | None


class Cpu(TypedDict):
    """The first CPU of /proc/cpuinfo; ``model`` is its brand, the numbers are those of CPUID, flags are sorted."""

    vendor: str | None
    model: str | None
    family: int | None
    model_number: int | None
    stepping: int | None
    flags: list[str]


class L3Cache(TypedDict):
    """One L3 cache: its CPU package and the list of its CPUs as the kernel writes it, ``0-3,32-35``."""

    package: int | None
    cpus: str
    size_bytes: int | None


class HugePagePool(TypedDict):
    """Huge pages of one size on one node, in pages."""

    total: int | None
    free: int | None


class Node(TypedDict):
    """A NUMA node. Distances are to all nodes, in their order, 10 to itself; pools are by page size in kB."""

    node: int
    cpus: list[int]
    memory_bytes: int
    free_bytes: int
    distances: list[int]
    hugepages: dict[str, HugePagePool]


class TransparentHugePages(TypedDict):
    """The chosen words of /sys/kernel/mm/transparent_hugepage."""

    enabled: str
    defrag: str | None


class Frequency(TypedDict):
    """How Linux sets the CPUs' clocks; what differs between CPUs is joined by commas."""

    driver: str | None
    governor: str | None
    governors: list[str]
    energy_performance_preference: str | None
    boost: bool | None
    amd_pstate: str | None
    intel_pstate: str | None


class Iommu(TypedDict):
    """IOMMUs that Linux uses: units, groups, and the kinds of translation of these."""

    units: int
    groups: int
    types: list[str]


class Hsmp(TypedDict):
    """AMD's Host System Management Port: clocks of this moment, one of each socket."""

    protocol: int | None
    fabric_mhz: list[int | None]
    memory_mhz: list[int | None]


class Strain(TypedDict):
    """What slows the CPUs down now: the part of the last minute, or the last seconds, in which a thread of the servers
    waited for a CPU; how often a CPU was slowed down by ``hot`` silicon since the start (Intel's count it); and the
    watts that a CPU may take, and could be told to take, of the one that may take least."""

    cpu_wait: float | None
    hot: int | None
    watts: float | None
    most_watts: float | None


class Disk(TypedDict):
    """The file system that holds a path, or will; its block device, None where it has none (overlay, tmpfs, NFS)."""

    path: str
    filesystem: str | None
    bytes: int
    free_bytes: int
    device: str | None
    partition: bool
    fs_uuid: str | None
    readahead_kb: int | None
    rotational: bool | None


class Edac(TypedDict):
    """What the drivers of the memory controllers count: memory, and errors since they were loaded."""

    size_bytes: int
    corrected: int
    uncorrected: int


class Identity(TypedDict):
    """What machine this is; ``hypervisor`` is whether it is a guest, None where nothing tells."""

    hypervisor: bool | None
    board: Board
    system: System
    bios: Bios


class Topology(TypedDict):
    """Online CPUs, cores, packages and caches; ``l3`` is None unless each CPU shows one and no core is offline."""

    cpus: int | None
    cores: int | None
    sockets: int | None
    smt_active: bool | None
    smt_control: str | None
    l3: list[L3Cache] | None


class Security(TypedDict):
    """Mandatory access control: SELinux as ``enforcing`` or ``permissive``, and whether AppArmor is on; None and False
    where there is none."""

    selinux: str | None
    apparmor: bool


class Allowed(TypedDict):
    """What a service may use, by cpusets, isolcpus, quotas and limits of what systemd runs in, or starts it in.

    ``whole`` is whether these are all CPUs and all nodes with memory, ``cores`` are those of ``cpus``, ``quota`` is CPU
    time in CPUs; None where there is no limit."""

    whole: bool
    cpus: list[int]
    cores: int | None
    nodes: list[int]
    quota: float | None
    memory_bytes: int | None


class Tower(Identity, Topology):
    """The whole machine."""

    source: str  # the directory that was read
    os: OperatingSystem
    kernel: str | None
    boot_id: str | None
    architecture: str | None
    command_line: str | None
    container: str | None  # the kind of container; None on a machine of its own
    cpu: Cpu
    x2apic: bool | None
    nodes: list[Node]
    allowed: Allowed
    security: Security
    nodes_per_socket: int | None  # with CPUs; 0 where one node spans the sockets
    memory_bytes: int | None
    swap_bytes: int | None
    thp: TransparentHugePages | None
    frequency: Frequency | None
    iommu: Iommu | None
    hsmp: Hsmp | None
    strain: Strain
    sysctl: dict[str, int | None]
    disks: dict[str, Disk]  # by the paths that were asked for
