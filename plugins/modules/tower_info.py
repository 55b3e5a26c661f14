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
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: Read the tower
  tower_info:
    paths: [/var/lib]
  register: this_tower

- name: Show its memory nodes
  ansible.builtin.debug:
    msg: "{{ this_tower.tower.nodes | map(attribute='memory_bytes') }}"
"""

RETURN = r"""
tower:
  description: The machine; sizes in bytes.
  returned: always
  type: dict
  contains:
    source: {description: The directory that was read., type: str, returned: always, sample: /}
    os: {description: "id, version_id, codename, name, and whether systemd runs.", type: dict, returned: always}
    kernel: {description: Kernel release., type: str, returned: always, sample: 6.12.48+deb13-amd64}
    boot_id: {description: What differs from boot to boot., type: str, returned: always}
    architecture: {description: Machine architecture., type: str, returned: always, sample: x86_64}
    command_line: {description: Kernel command line., type: str, returned: always}
    container: {description: Kind of container; null on a machine of its own., type: str, returned: always}
    hypervisor: {description: Whether this is a guest; null where nothing tells., type: bool, returned: always}
    board: {description: Vendor and name of the mainboard., type: dict, returned: always}
    system: {description: Vendor and product name of the machine., type: dict, returned: always}
    bios: {description: "vendor, version and date of the firmware.", type: dict, returned: always}
    cpu: {description: "vendor, model, family, model_number, stepping, flags of the first CPU.", type: dict, returned: always}
    cpus: {description: Logical CPUs online., type: int, returned: always}
    cores: {description: Physical cores online., type: int, returned: always}
    sockets: {description: CPU packages., type: int, returned: always}
    smt_active: {description: Whether two threads of a core run., type: bool, returned: always}
    smt_control: {description: "What Linux can do about it: on, off, forceoff, notsupported.", type: str, returned: always}
    l3: {description: "L3 caches, each with package, cpus and size_bytes; null unless every CPU shows one.", type: list, elements: dict, returned: always}
    x2apic: {description: Whether the CPU shows x2APIC to Linux; null on other architectures., type: bool, returned: always}
    nodes:
      description: NUMA nodes, each with node, cpus, memory_bytes, free_bytes, distances, hugepages by size in kB.
      type: list
      elements: dict
      returned: always
    nodes_per_socket: {description: Nodes with CPUs in each socket; 0 where one node spans the sockets., type: int, returned: always}
    memory_bytes: {description: Memory the kernel manages., type: int, returned: always}
    swap_bytes: {description: Swap space., type: int, returned: always}
    thp: {description: "Transparent huge pages: enabled and defrag; null where the kernel has none.", type: dict, returned: always}
    frequency:
      description: CPU frequency driver, governor(s), EPP, boost, and status of amd_pstate and intel_pstate; null where Linux does not scale.
      type: dict
      returned: always
    iommu: {description: "Numbers of units and groups, and types of translation; null where Linux has no IOMMU class.", type: dict, returned: always}
    hsmp: {description: "Protocol version and clocks of AMD's management port; null without its driver.", type: dict, returned: always}
    sysctl: {description: Running values of the settings that kernel_tuning manages., type: dict, returned: always}
    disks: {description: "For each path: bytes, free_bytes, device, partition, fs_uuid, readahead_kb, rotational.", type: dict, returned: always}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.tower import read_tower


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, tower=read_tower(module.params["root"], module.params["paths"]))


if __name__ == "__main__":
    main()
