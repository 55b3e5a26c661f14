# SPDX-License-Identifier: MIT
"""Ansible module: what a machine was before the first run, written down and put back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: machine_before
short_description: Write down what a machine was before the first run, or put it back
version_added: 0.1.0
author: llamatower contributors
description:
  - Keeps, in C(/var/lib/llamatower/before.json), which packages and accounts there were, and the values of files of the
    kernel that roles change. What is in it is never overwritten by later values.
  - Reads, and with O(state=restored) writes, files below C(/proc) and C(/sys) only as they are named.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  state:
    description:
      - V(recorded) writes down what is not yet, V(restored) gives the files of the kernel the values that they had, and
        V(forgotten) removes the record.
    type: str
    choices: [recorded, restored, forgotten]
    required: true
  files:
    description: The files of the kernel, as patterns of the shell.
    type: list
    elements: str
    default: []
  unless:
    description: Files by which one sees that the machine was changed already; with one of them nothing is recorded.
    type: list
    elements: path
    default: []
  default:
    description: The value of files that are not in the record; left alone without it.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the values of the kernel.
"""

EXAMPLES = r"""
- name: Write down what the machine was
  llamatower.tower.machine_before:
    state: recorded
    files: [/proc/sys/vm/swappiness]
    unless: [/etc/sysctl.d/90-llamatower.conf]

- name: Put it back
  llamatower.tower.machine_before:
    state: restored
    files: [/proc/sys/vm/swappiness]
"""

RETURN = r"""
before:
  description: The record; null where there is none, or was.
  returned: always
  type: dict
  contains:
    schema_version: {description: The version of its form., type: int, returned: always}
    packages: {description: The installed packages., type: list, elements: str, returned: always}
    accounts: {description: The accounts., type: list, elements: str, returned: always}
    values: {description: The values of files of the kernel., type: dict, returned: always, sample: {/proc/sys/vm/swappiness: "60"}}
refused:
  description: The files whose values the kernel did not take; a restart of the machine brings them back.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.before import changed_values, forget, keep, read_record, record, restore
from ..module_utils.files import write_problem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["recorded", "restored", "forgotten"], "required": True},
            "files": {"type": "list", "elements": "str", "default": []},
            "unless": {"type": "list", "elements": "path", "default": []},
            "default": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params, before = module.params, read_record()
    refused: list[str] = []
    texts = ("", "")
    try:
        if params["state"] == "recorded":
            before, changed = record(params["files"], params["unless"])
            if changed and before and not module.check_mode:
                keep(before)
        elif params["state"] == "restored":
            values = list(changed_values(params["files"], params["default"]))
            changed = bool(values)
            texts = (
                "".join(f"{value.path} {value.now}\n" for value in values),
                "".join(f"{value.path} {value.wanted}\n" for value in values),
            )
            refused = [] if module.check_mode else restore(values)
        else:
            changed = before is not None
            if changed and not module.check_mode:
                forget()
    except OSError as error:
        module.fail_json(msg=write_problem(error.filename, error))
    if refused:
        module.warn(f"The kernel keeps what it has in {', '.join(refused)} until its next start.")
    module.exit_json(changed=changed, before=before, refused=refused, diff={"before": texts[0], "after": texts[1]})


if __name__ == "__main__":
    main()
