# SPDX-License-Identifier: MIT
"""Ansible module: take instances of the service away."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_instance
short_description: Take instances of the service away
version_added: 0.1.0
author: llamatower contributors
description:
  - Stops the units of an instance, and removes what systemd and the checks know of it and its deployments with their
    keys. Engine, model, and all other instances stay as they are.
  - Waits for a switch of the instance, and for another change of the tower, and cuts neither.
  - M(llamatower.tower.llama_deployment) makes an instance.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
options:
  names:
    description: The instances; all that the tower has where this is empty.
    type: list
    elements: str
    default: []
  state:
    description: What is wanted of them.
    type: str
    choices: [absent]
    required: true
  by:
    description: Who wants it, for those who wait.
    type: str
    default: ansible
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The instances that are taken away.
"""

EXAMPLES = r"""
- name: Take one of several away
  llamatower.tower.llama_instance:
    names: [drafts]
    state: absent
    progress_path: /run/llamatower/removal.json
"""

RETURN = r"""
removed:
  description: The instances that were there and are taken away.
  returned: success
  type: list
  elements: str
  sample: [main]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import removal_problem
from ..module_utils.lock import HeldError, held_problem
from ..module_utils.progress import Progress
from ..module_utils.service.uninstall import Removing, known_instances
from ..module_utils.service.unit import UnitError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["absent"], "required": True},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": "ansible"},
        },
        supports_check_mode=True,
    )
    params, there = module.params, known_instances()
    removed = [name for name in there if name in params["names"] or not params["names"]]
    if removed and not module.check_mode:
        try:
            with Progress(params["progress_path"], "the removal of instances", params["by"]) as progress:
                Removing(params["by"], progress).carry_out(removed)
        except HeldError as error:
            module.fail_json(msg=held_problem(error))
        except UnitError as error:
            module.fail_json(msg=str(error))
        except OSError as error:
            module.fail_json(msg=removal_problem(error))
    diff = {"before": "".join(f"{name}\n" for name in removed), "after": ""}
    module.exit_json(changed=bool(removed), removed=removed, diff=diff)


if __name__ == "__main__":
    main()
