# SPDX-License-Identifier: MIT
"""Ansible module: what a tower runs by itself, installed on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tower_programs
short_description: Install what a tower runs by itself
version_added: 0.1.0
author: llamatower contributors
description:
  - Installs the programs that units and timers of the tower run without Ansible, as C(python3 -m llamatower.WING.NAME)
    with E(PYTHONPATH) set to O(path) - C(llamatower.service.supervise), C(llamatower.service.interleave) and
    C(llamatower.model.verify), with all that they import.
  - Everybody can read them, whatever the umask of root is. What an older version has left there is removed.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  path:
    description: Where the package C(llamatower) is; nothing else is to be in it.
    type: path
    default: /usr/local/lib/llamatower
  programs:
    description:
      - The text of each file, by its path in the package.
      - The action of this name reads them out of the collection; leave it out.
    type: dict
attributes:
  check_mode:
    support: full
    details: Tells what would be installed and removed.
  diff_mode:
    support: full
    details: Shows the names of the files that change, not their text.
"""

EXAMPLES = r"""
- name: Install what the tower runs by itself
  llamatower.tower.tower_programs:
"""

RETURN = r"""
written:
  description: Files and directories that were written or given their mode, by their paths below O(path).
  returned: success
  type: list
  elements: str
  sample: [llamatower/service/supervise.py]
removed:
  description: Files and directories that an older version had left, likewise.
  returned: success
  type: list
  elements: str
  sample: [llamatower/placement_check.py]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import write_problem
from ..module_utils.lock import HeldError, changing, held_problem
from ..module_utils.service.programs import install_programs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/usr/local/lib/llamatower"},
            # No secret, but too long for the tower's journal.
            "programs": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    if not module.params["programs"]:
        module.fail_json(msg="There are no programs: leave the option out, and the action of this module reads them.")
    try:
        written, removed = install_programs(module.params["path"], module.params["programs"], True)
        if (written or removed) and not module.check_mode:
            with changing("the programs of the tower"):
                install_programs(module.params["path"], module.params["programs"])
    except HeldError as error:
        module.fail_json(msg=held_problem(error))
    except OSError as error:
        module.fail_json(msg=write_problem(error.filename, error))
    module.exit_json(
        changed=bool(written or removed),
        written=written,
        removed=removed,
        diff={"before": "".join(f"{name}\n" for name in removed), "after": "".join(f"{name}\n" for name in written)},
    )


if __name__ == "__main__":
    main()
