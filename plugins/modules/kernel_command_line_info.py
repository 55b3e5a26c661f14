# SPDX-License-Identifier: MIT
"""Ansible module: what boots this machine, and with which words."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_command_line_info
short_description: See what boots this machine, with which words, and which words wait for a restart
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads what M(llamatower.tower.kernel_command_line) decides by. The partitions of proxmox-boot-tool are mounted for that,
    read-only and seen by nobody else.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  root:
    description: The root of the machine, or of a copy of its files.
    type: path
    default: /
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: See what boots this machine
  llamatower.tower.kernel_command_line_info:
"""

RETURN = r"""
kernel_command_line:
  description: The command lines of the running kernel and of the next one.
  returned: success
  type: dict
  contains:
    source: {description: The root that was read., type: str, returned: always, sample: /}
    loader: {description: What boots this machine; null where it is not known., type: str, returned: always, sample: GRUB}
    running: {description: The command line of the running kernel., type: str, returned: always}
    next: {description: "The command lines that the loader has, one a kernel and place; null where its configuration is cut off or the loader not known.", type: list, elements: str, returned: always}
    given: {description: "The words that M(llamatower.tower.kernel_command_line) gave, by name.", type: dict, returned: always, sample: {llamatower-hugepages: ["hugepagesz=1G hugepages=0:150,1:150"]}}
    pending: {description: "Those of them that the loader has, and the running kernel does not.", type: list, elements: str, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.boot.command_line import given_words
from ..module_utils.boot.loaders import find_loader, has_words, runner
from ..module_utils.sysfs import read_text


def main() -> None:
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    root = Path(module.params["root"])
    loader = find_loader(root, runner(module.get_bin_path, module.run_command), "")
    kernels = loader.kernels() if loader else None
    lines = None if kernels is None else [line for places in kernels for line in places]
    running, given = read_text(root / "proc/cmdline") or "", given_words(root)
    pending = [
        words
        for phrases in given.values()
        for words in phrases
        if not has_words(running, words) and any(has_words(line, words) for line in lines or [])
    ]
    module.exit_json(
        changed=False,
        kernel_command_line={
            "source": str(root),
            "loader": loader.title if loader else None,
            "running": running,
            "next": lines,
            "given": given,
            "pending": pending,
        },
    )


if __name__ == "__main__":
    main()
