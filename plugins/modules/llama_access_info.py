# SPDX-License-Identifier: MIT
"""Ansible module: where clients reach the instances of a tower, and by which keys."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_access_info
short_description: Where clients reach the instances of a tower, and by which keys
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads the URL and the API keys of each instance from its deployment.
  - What it returns is secret - a task that runs it needs C(no_log=true).
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  host:
    description: The address of the tower for its clients, which stands in the URL of a server that listens on every address.
    type: str
    required: true
  instances_path:
    description: The directory of the instances.
    type: path
    default: /var/lib/llamatower/instances
"""

EXAMPLES = r"""
- name: Read them
  llamatower.tower.llama_access_info:
    host: "{{ inventory_hostname }}"
  register: reached
  no_log: true
"""

RETURN = r"""
access:
  description: The instances by name, those that have a deployment.
  returned: success
  type: list
  elements: dict
  contains:
    instance: {description: Its name., type: str, returned: success, sample: main}
    model: {description: The name of its model., type: str, returned: success}
    urls: {description: "One URL for each of its units, without a path.", type: list, elements: str, returned: success}
    loopback: {description: Whether only the tower itself can connect., type: bool, returned: success}
    keys: {description: The API keys by their names., type: dict, returned: success, sample: {ann: …}}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.service.access import access
from ..module_utils.service.deployment import INSTANCES


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "instances_path": {"type": "path", "default": INSTANCES},
        },
        supports_check_mode=True,
    )
    try:
        found = access(module.params["host"], module.params["instances_path"])
    except OSError as error:
        module.fail_json(msg=f"The API keys cannot be read ({error}): become root on the tower.")
    module.exit_json(changed=False, access=found)


if __name__ == "__main__":
    main()
