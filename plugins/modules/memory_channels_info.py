# SPDX-License-Identifier: MIT
"""Ansible module: what every memory channel of the machine is doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_channels_info
short_description: What every memory channel of the machine is doing
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the SMBIOS table of the machine, knows how many channels its CPUs have and how its vendor names slots, and says
    which channels are populated, which are empty, and what that costs.
  - Needs no package and runs no command. Needs root, since only root may read the table.
  - What is not sure is null. C(confidence) C(certain) means that a naming rule and the CPU agree, C(high) that one of
    them answered alone, C(low) that the firmware contradicts the CPU, C(none) that there are bounds at most.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  dmi_path:
    description: The raw SMBIOS table, bare or as C(dmidecode --dump-bin) writes it.
    type: path
    default: /sys/firmware/dmi/tables/DMI
  dmidecode_path:
    description: Saved output of C(dmidecode), read instead of the table.
    type: path
  sysfs_path:
    description: Where sysfs is, for the L3 caches of the CPUs and the counts of EDAC, and proc beside it. Only read for this machine's own table, or when it is given.
    type: path
    default: /sys
  previous:
    description: An earlier RV(memory_channels) of the same machine; DIMMs that are gone since are reported.
    type: dict
"""

EXAMPLES = r"""
- name: See what the memory channels are doing
  llamatower.tower.memory_channels_info:
  register: memory

- name: Show the board
  ansible.builtin.debug:
    msg: "{{ (memory.memory_channels | llamatower.tower.memory_board).splitlines() }}"

- name: Read what dmidecode said on another machine
  llamatower.tower.memory_channels_info:
    dmidecode_path: /srv/saved/dmidecode.txt
  register: saved

- name: Say what it costs there, the most costly first
  ansible.builtin.debug:
    msg: "{{ saved.memory_channels.advice | map(attribute='message') }}"
"""

RETURN = r"""
memory_channels:
  description: The machine. All keys are always there; what is not known is null.
  returned: always
  type: dict
  contains:
    source: {description: "C(dmi-table), C(dmidecode-text) or C(none).", type: str, returned: always}
    vendor: {description: Vendor of the system., type: str, returned: always}
    board: {description: Name of the board., type: str, returned: always}
    sockets:
      description: The CPU sockets in the board's order, ranked from 0.
      returned: always
      type: list
      elements: dict
      contains:
        socket: {description: Rank of the socket., type: int, returned: always}
        populated: {description: Whether a CPU is in it., type: bool, returned: always}
        cpu: {description: Brand of the CPU., type: str, returned: always}
        channels_total: {description: Channels of 64 bits that the CPU has., type: int, returned: always}
        channels_populated: {description: Channels with a DIMM., type: int, returned: always}
        channels_bounds: {description: The least and the most it can be., type: list, elements: int, returned: always}
        empty_channels: {description: Empty channels as the board names them., type: list, elements: str, returned: always}
        l3_domains: {description: L3 caches of the CPU; in a guest those that a CPU of its name has., type: int, returned: always}
    dimms:
      description: The slots, empty ones included.
      returned: always
      type: list
      elements: dict
      contains:
        handle: {description: Handle of the record., type: int, returned: always}
        locator: {description: Name of the slot., type: str, returned: always}
        bank_locator: {description: Second name of the slot., type: str, returned: always}
        socket: {description: Rank of its socket., type: int, returned: always}
        channel: {description: Its channel., type: str, returned: always}
        slot: {description: Its slot within the channel., type: int, returned: always}
        size_bytes: {description: Size of the DIMM; 0 in an empty slot., type: int, returned: always}
        type: {description: Kind of memory., type: str, returned: always, sample: DDR5}
        registered: {description: Whether it is a registered DIMM., type: bool, returned: always}
        rated_mts: {description: Rated speed in MT/s., type: int, returned: always}
        configured_mts: {description: Speed it runs at in MT/s., type: int, returned: always}
        ranks: {description: Ranks., type: int, returned: always}
        data_width: {description: Width in bits without ECC., type: int, returned: always}
        manufacturer: {description: Maker., type: str, returned: always}
        part_number: {description: Part number., type: str, returned: always}
        populated: {description: Whether there is a DIMM., type: bool, returned: always}
    rule: {description: The naming rule that answered., type: str, returned: always, sample: gigabyte-p-letter}
    confidence: {description: "C(certain), C(high), C(low) or C(none).", type: str, returned: always}
    bandwidth:
      description: Gigabytes (10^9) a second.
      returned: always
      type: dict
      contains:
        theoretical_gb_s: {description: All channels of the CPUs., type: float, returned: always}
        populated_gb_s: {description: Channels in use at the speed they run at., type: float, returned: always}
        reachable_gb_s: {description: "What reads can reach, as a range; an estimate.", type: list, elements: float, returned: always}
        reachable_source: {description: What the estimate rests on., type: str, returned: always}
        limited_by: {description: "C(channels), C(ccd-links) or C(unknown).", type: str, returned: always}
    advice:
      description: What to mend, the most costly first.
      returned: always
      type: list
      elements: dict
      contains:
        severity: {description: "C(problem), C(advice) or C(info).", type: str, returned: always}
        code: {description: Short name., type: str, returned: always, sample: empty-channel}
        message: {description: One sentence., type: str, returned: always}
        fix: {description: What mends it., type: str, returned: always}
        gb_s: {description: What it costs in GB/s., type: float, returned: always}
    warnings: {description: What was wrong with the table., type: list, elements: str, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.memory.channels import describe, nothing
from ..module_utils.memory.smbios import LARGEST_TABLE, SmbiosError, read_table
from ..module_utils.memory.smbios_text import LARGEST_TEXT, read_dmidecode
from ..module_utils.tower import edac, guest, l3_domains


def _read(path: str, most: int) -> bytes:
    """A file, of which no more is read than it takes to see that it is too long: it may be /dev/zero."""
    with Path(path).open("rb") as file:
        return file.read(most + 1)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "dmi_path": {"type": "path", "default": "/sys/firmware/dmi/tables/DMI"},
            "dmidecode_path": {"type": "path"},
            "sysfs_path": {"type": "path", "default": "/sys"},
            "previous": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    options = module.params
    text = options["dmidecode_path"]
    path = text or options["dmi_path"]
    # The caches of this machine say nothing about a table that was saved from another.
    own = (not text and options["dmi_path"].startswith(options["sysfs_path"])) or options["sysfs_path"] != "/sys"
    try:
        if text:
            machine = read_dmidecode(_read(path, LARGEST_TEXT).decode("utf-8", "replace"))
        else:
            machine = read_table(_read(path, LARGEST_TABLE))
        domains = l3_domains(options["sysfs_path"]) if own else None
        counted = edac(options["sysfs_path"]) if own else None
        source = "dmidecode-text" if text else "dmi-table"
        found = describe(machine, source, domains, options["previous"], counted, own and guest(options["sysfs_path"]))
    except PermissionError:
        found = nothing("none", f"{path} can only be read by root: run with become (ansible --become).")
    except OSError as error:
        found = nothing("none", f"{path} cannot be read ({error.strerror}): this machine shows no SMBIOS table.")
    except SmbiosError as error:
        found = nothing("none", f"{path}: {error}")
    for warning in found["warnings"]:
        module.warn(warning)
    module.exit_json(changed=False, memory_channels=found)


if __name__ == "__main__":
    main()
