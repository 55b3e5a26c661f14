# SPDX-License-Identifier: MIT
"""Ansible module: words on the kernel command line of the next boot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_command_line
short_description: Give the kernel words of its command line, or take them away again
version_added: 0.1.0
author: llamatower contributors
description:
  - Finds what boots this machine - GRUB, systemd-boot, or either of them under proxmox-boot-tool - and writes the words
    where that reads them, C(/etc/default/grub.d/NAME.cfg) or C(/etc/kernel/cmdline).
  - Runs what makes the loader's own configuration of it, C(update-grub), C(kernel-install add) or C(proxmox-boot-tool
    refresh), wherever that configuration is not as it should be, whoever wrote what and when, and reads it again.
  - Changes nothing where the administrator has given the same words already, and leaves all other words as they are.
  - Fails with one sentence where the loader's configuration is not as it should be afterwards, and, where the loader is
    none of these, with one that says what to change by hand.
  - The running kernel gets the words at its next start.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  name:
    description: Who the words belong to; also the name of the file for GRUB, and of the record in C(/etc/kernel).
    type: str
    required: true
  words:
    description: The words, which stay together in this order. Needed where O(state=present).
    type: str
  state:
    description: Whether the kernel is to be started with the words; V(absent) takes away those that were given under O(name).
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the file that is written, and the command lines that are made of it.
"""

EXAMPLES = r"""
- name: Reserve 300 pages of 1 GB at boot
  llamatower.tower.kernel_command_line:
    name: llamatower-hugepages
    words: hugepagesz=1G hugepages=0:150,1:150
"""

RETURN = r"""
loader:
  description: What boots this machine; null where it is not known.
  returned: always
  type: str
  sample: GRUB
file:
  description: The file that has the words; null where the loader is not known.
  returned: always
  type: str
  sample: /etc/default/grub.d/llamatower-hugepages.cfg
generated:
  description: What the loader's program makes of it; null where the loader is not known.
  returned: always
  type: str
  sample: /boot/grub/grub.cfg
given:
  description: The words that were given under this name before.
  returned: always
  type: list
  elements: str
running:
  description: Whether the running kernel was started with the words; null where there are none to ask for.
  returned: always
  type: bool
"""

import re
from pathlib import Path
from typing import Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.boot.command_line import CommandLine, CommandLinePlan
from ..module_utils.boot.loaders import has_words, runner, with_words, without_words
from ..module_utils.lock import HeldError, changing, held_problem

ROOT = Path("/")


def differences(line: CommandLine, plan: CommandLinePlan, wanted: Optional[str]) -> list[dict[str, str]]:
    """The file, and the command lines that are made of it, before and after."""
    if line.loader is None:
        return []
    stale = [words for words in plan.record.words if words != wanted]
    before = [places[0] for places in plan.kernels or [] if places]
    after = [without_words(each, stale) for each in before]
    if wanted is not None:
        after = [each if has_words(each, wanted) else with_words(each, wanted) for each in after]
    made, to_be = ("".join(f"{each}\n" for each in lines) for lines in (before, after))
    shown = [(line.loader.file, plan.before, plan.after), (line.loader.generated, made, to_be)]
    return [
        {"before_header": name, "after_header": name, "before": old or "", "after": new or ""}
        for name, old, new in shown
        if (old or "") != (new or "")
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "words": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["words"])],
        supports_check_mode=True,
    )
    options = module.params
    wanted = options["words"] if options["state"] == "present" else None
    # What a shell takes for more than text would not reach the kernel as it is.
    if wanted is not None and not re.fullmatch(r"[\w.,:/=@%+~-]+( [\w.,:/=@%+~-]+)*", wanted):
        module.fail_json(
            msg=f"{wanted!r} cannot be given to the kernel: write words of letters, digits and .,:/=@%+~-_, with one blank in between."
        )
    if not re.fullmatch(r"[\w-]+", options["name"]):
        module.fail_json(msg=f"{options['name']!r} cannot be the name of a file: write letters, digits, - and _.")
    line = CommandLine(ROOT, runner(module.get_bin_path, module.run_command), options["name"])
    plan, problem = line.plan(wanted), line.problem(wanted)
    answer = {
        "loader": line.loader.title if line.loader else None,
        "file": line.loader.file if line.loader else None,
        "generated": line.loader.generated if line.loader else None,
        "given": plan.record.words,
        "running": has_words(line.running, options["words"]) if options["words"] else None,
    }
    if problem is None and plan.changed and not module.check_mode:
        try:
            with changing("the kernel command line"):
                problem, complaint = line.apply(line.plan(wanted), wanted)
        except HeldError as error:
            module.fail_json(msg=held_problem(error), **answer)
        except OSError as error:
            module.fail_json(
                msg=f"The kernel command line cannot be changed ({error}): make room there, or mount it.", **answer
            )
        if complaint:
            module.warn(complaint)
    if problem:
        module.fail_json(msg=problem, **answer)
    module.exit_json(changed=plan.changed, diff=differences(line, plan, wanted), **answer)


if __name__ == "__main__":
    main()
