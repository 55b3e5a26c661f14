# SPDX-License-Identifier: MIT
"""Documentation of the access_file action, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: access_file
short_description: Keep all towers' URLs and API keys in one file of the controller
version_added: 0.1.0
author: llamatower contributors
description:
  - Writes a JSON file that only its owner may read, whole or not at all.
  - A tower that was not read keeps what the file says of it; one that is not in O(towers) is taken out.
  - Runs on the controller, and shows nothing of what it is given.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  path:
    description: The file, from the directory that one stands in.
    type: path
    required: true
  towers:
    description: What M(llamatower.tower.llama_access_info) returned, by the names of the towers; without C(access) of one that was not read.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: It would show the keys.
"""

EXAMPLES = r"""
- name: Read URLs and keys
  llamatower.tower.llama_access_info:
    host: "{{ inventory_hostname }}"
  register: reached
  no_log: true

- name: Write them down
  llamatower.tower.access_file:
    path: /srv/saved/keys.json
    towers: "{{ {inventory_hostname: reached} }}"
"""

RETURN = r""" # """
