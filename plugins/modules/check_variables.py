# SPDX-License-Identifier: MIT
"""Documentation of the check_variables action, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Check the variables of a host against the roles' argument specs
version_added: 0.1.0
author: llamatower contributors
description:
  - Compares every variable whose name begins with the name of a role with C(meta/argument_specs.yml) of that role.
  - Finds what Ansible itself passes over - names that no role knows, and booleans given as text - and what it would
    find only when the role runs, an hour later - wrong types and values.
  - Runs on the controller and touches no host.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
options:
  roles_path:
    description: The directory of the roles.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Check the variables
  llamatower.tower.check_variables:
    roles_path: "{{ playbook_dir }}/../roles"
"""

RETURN = r"""
problems:
  description: One sentence for each wrong variable; the task fails where there is one.
  returned: always
  type: list
  elements: str
"""
