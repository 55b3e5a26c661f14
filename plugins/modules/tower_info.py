# SPDX-License-Identifier: MIT
"""Ansible module: what Linux says about a tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tower_info
short_description: What Linux says about a tower
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the operating system, CPUs, NUMA nodes, memory, huge pages, kernel settings and disks of
    a machine from C(/etc/os-release), C(/proc) and C(/sys).
  - Runs no command and changes nothing. A value that the machine does not show is null.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  root:
    description: Directory to read instead of C(/), for files saved from another machine.
    type: path
    default: /
  paths:
    description: Directories whose file systems are described. They need not exist yet.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Read the tower
  llamatower.tower.tower_info:
    paths: [/var/lib]
  register: this_tower

- name: Show its memory nodes
  ansible.builtin.debug:
    msg: "{{ this_tower.tower.nodes | map(attribute='memory_bytes') }}"
"""

RETURN = r"""
machine:
  description: What tells the machine from others, of its SMBIOS table, which only root may read.
  returned: always
  type: dict
  contains:
    uuid: {description: Its UUID; null where it shows none., type: str, returned: always}
    serials: {description: Serial numbers of the system and its board., type: list, elements: str, returned: always}
tower:
  description: The machine. All keys are always there; what the machine does not show is null. Sizes are bytes.
  returned: always
  type: dict
  contains:
    source: {description: The directory that was read., type: str, returned: always, sample: /}
    os:
      description: The operating system, of C(/etc/os-release).
      type: dict
      returned: always
      contains:
        id: {description: C(ID)., type: str, returned: always, sample: debian}
        like: {description: C(ID_LIKE)., type: list, elements: str, returned: always}
        base_codename:
          description: C(UBUNTU_CODENAME), C(DEBIAN_CODENAME) or C(VERSION_CODENAME), the release that it is or is made from.
          type: str
          returned: always
          sample: trixie
        version_id: {description: C(VERSION_ID)., type: str, returned: always, sample: "13"}
        codename: {description: C(VERSION_CODENAME)., type: str, returned: always, sample: trixie}
        name: {description: C(PRETTY_NAME)., type: str, returned: always}
        systemd: {description: Whether systemd runs., type: bool, returned: always}
    kernel: {description: Kernel release., type: str, returned: always, sample: 6.12.48+deb13-amd64}
    boot_id: {description: What differs from boot to boot., type: str, returned: always}
    architecture: {description: Machine architecture., type: str, returned: always, sample: x86_64}
    command_line: {description: The words of the kernel command line that concern memory and CPUs., type: str, returned: always}
    container: {description: Kind of container; null on a machine of its own., type: str, returned: always, sample: podman}
    hypervisor: {description: Whether this is a guest; null where nothing tells., type: bool, returned: always}
    board:
      description: The mainboard, as DMI names it.
      type: dict
      returned: always
      contains:
        vendor: {description: Its vendor., type: str, returned: always}
        name: {description: Its name., type: str, returned: always}
    system:
      description: The machine, as DMI names it.
      type: dict
      returned: always
      contains:
        vendor: {description: Its vendor., type: str, returned: always}
        product: {description: Its name., type: str, returned: always}
    bios:
      description: The firmware, as DMI names it.
      type: dict
      returned: always
      contains:
        vendor: {description: Its vendor., type: str, returned: always}
        version: {description: Its version., type: str, returned: always}
        date: {description: Its date., type: str, returned: always, sample: 06/18/2025}
    cpu:
      description: The first CPU, of C(/proc/cpuinfo).
      type: dict
      returned: always
      contains:
        vendor: {description: Its vendor., type: str, returned: always, sample: AuthenticAMD}
        model: {description: Its brand., type: str, returned: always}
        family: {description: Its family., type: int, returned: always, sample: 25}
        model_number: {description: Its model., type: int, returned: always, sample: 17}
        stepping: {description: Its stepping., type: int, returned: always}
        flags: {description: "Its features, sorted.", type: list, elements: str, returned: always}
    cpus: {description: Logical CPUs online., type: int, returned: always}
    cores: {description: Physical cores online., type: int, returned: always}
    sockets: {description: CPU packages., type: int, returned: always}
    smt_active: {description: Whether two threads of a core run., type: bool, returned: always}
    smt_control:
      description: What Linux can do about it, C(on), C(off), C(forceoff), C(notsupported) or C(notimplemented).
      type: str
      returned: always
    l3:
      description: Every L3 cache; null unless every CPU shows one and no core is offline.
      type: list
      elements: dict
      returned: always
      contains:
        package: {description: Number of its CPU package., type: int, returned: always}
        cpus: {description: The CPUs that share it., type: str, returned: always, sample: "0-7,64-71"}
        size_bytes: {description: Its size., type: int, returned: always, sample: 33554432}
    x2apic: {description: Whether the CPU shows x2APIC to Linux; null on other architectures., type: bool, returned: always}
    nodes:
      description: The NUMA nodes.
      type: list
      elements: dict
      returned: always
      contains:
        node: {description: Its number., type: int, returned: always}
        cpus: {description: Its logical CPUs; empty where it has memory only., type: list, elements: int, returned: always}
        memory_bytes: {description: Its memory; 0 where it has CPUs only., type: int, returned: always}
        free_bytes: {description: What of that is free., type: int, returned: always}
        distances: {description: Its distance to every node., type: list, elements: int, returned: always, sample: [10, 32]}
        hugepages:
          description: Its pools of huge pages, C(total) and C(free) pages of each, by the size of a page in kB.
          type: dict
          returned: always
          sample: {"2048": {total: 0, free: 0}, "1048576": {total: 0, free: 0}}
    allowed:
      description:
        - What a service may use, by the cpusets, isolated CPUs, quotas and limits of the container, of C(llama.slice) and
          of drop-ins of systemd.
      type: dict
      returned: always
      contains:
        whole: {description: Whether that is all., type: bool, returned: always}
        cpus: {description: The CPUs., type: list, elements: int, returned: always}
        cores: {description: How many cores they are of., type: int, returned: always}
        nodes: {description: The memory nodes., type: list, elements: int, returned: always}
        quota: {description: CPU time in CPUs; null without a limit., type: float, returned: always, sample: 7.5}
        memory_bytes: {description: The most memory; null without a limit., type: int, returned: always}
    security:
      description: Mandatory access control.
      type: dict
      returned: always
      contains:
        selinux: {description: "C(enforcing) or C(permissive); null without SELinux.", type: str, returned: always}
        apparmor: {description: Whether AppArmor is on., type: bool, returned: always}
    nodes_per_socket: {description: Nodes with CPUs in each socket; 0 where one node spans the sockets., type: int, returned: always}
    memory_bytes: {description: Memory the kernel manages., type: int, returned: always}
    swap_bytes: {description: Swap space., type: int, returned: always}
    thp:
      description: Transparent huge pages; null where the kernel has none.
      type: dict
      returned: always
      contains:
        enabled: {description: "C(always), C(madvise) or C(never).", type: str, returned: always}
        defrag: {description: "C(always), C(defer), C(defer+madvise), C(madvise) or C(never).", type: str, returned: always}
    frequency:
      description: How the CPUs are clocked; null where Linux does not scale. Where CPUs differ, all values with commas in between.
      type: dict
      returned: always
      contains:
        driver: {description: The driver of cpufreq., type: str, returned: always, sample: amd-pstate-epp}
        governor: {description: The governor in use., type: str, returned: always, sample: performance}
        governors: {description: The governors that the driver has., type: list, elements: str, returned: always}
        energy_performance_preference: {description: The preference in use., type: str, returned: always}
        boost: {description: Whether clocks above the nominal one are allowed., type: bool, returned: always}
        amd_pstate: {description: Status of amd_pstate., type: str, returned: always, sample: active}
        intel_pstate: {description: Status of intel_pstate., type: str, returned: always}
    iommu:
      description: The IOMMUs that Linux uses; null where it has no class of them.
      type: dict
      returned: always
      contains:
        units: {description: How many there are., type: int, returned: always}
        groups: {description: Groups of devices., type: int, returned: always}
        types: {description: Kinds of translation., type: list, elements: str, returned: always, sample: [DMA-FQ]}
    hsmp:
      description: AMD's host system management port; null without its driver.
      type: dict
      returned: always
      contains:
        protocol: {description: Version of the protocol., type: int, returned: always}
        fabric_mhz: {description: Clock of the data fabric of each socket., type: list, elements: int, returned: always}
        memory_mhz: {description: Clock of the memory of each socket., type: list, elements: int, returned: always}
    strain:
      description: What slows the CPUs down now; what the machine does not show is null.
      type: dict
      returned: always
      contains:
        cpu_wait: {description: The part of the last minute in which a thread of the servers waited for a CPU., type: float, returned: always, sample: 0.02}
        hot: {description: How often a CPU was slowed down by heat since the start., type: int, returned: always}
        watts: {description: "What a CPU may take, of the one that may take least.", type: float, returned: always, sample: 240.0}
        most_watts: {description: What that one could be told to take., type: float, returned: always, sample: 240.0}
    sysctl:
      description: Running values of the settings that the role kernel_tuning manages, by their names.
      type: dict
      returned: always
      sample: {kernel.numa_balancing: 0, vm.zone_reclaim_mode: 0, vm.swappiness: 10, vm.overcommit_memory: 0}
    disks:
      description:
        - The file system of each of O(paths), by path - C(path), the kind of C(filesystem), C(bytes), C(free_bytes), C(device), whether that is a
          C(partition), C(fs_uuid), C(readahead_kb), and whether it is C(rotational).
        - From C(device) on, null on a file system without a block device (overlay, tmpfs, NFS).
      type: dict
      returned: always
      sample:
        /var/lib:
          path: /var/lib
          filesystem: ext4
          bytes: 1999421218816
          free_bytes: 1503421218816
          device: nvme0n1p2
          partition: true
          fs_uuid: 3c5a71a8-bf48-43cb-8c6c-8a56e7a3a3f1
          readahead_kb: 4096
          rotational: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.machine import machine_of
from ..module_utils.tower import read_tower


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    root = module.params["root"]
    module.exit_json(changed=False, machine=machine_of(root), tower=read_tower(root, module.params["paths"]))


if __name__ == "__main__":
    main()
