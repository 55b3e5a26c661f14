# SPDX-License-Identifier: MIT
"""Ansible module: the file of the API keys of a llama-server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: llama_api_keys
short_description: Write the API keys that a llama-server accepts
version_added: 0.1.0
author: llamatower contributors
description:
  - Writes the file for C(llama-server --api-key-file), each key below its name as a comment. A key that is no longer
    given is no longer in it; the server has to be restarted to know.
  - Without keys the file has one that is generated on the tower, which stays the same until O(rotate) or keys are given.
  - Refuses what the server would not read as a key, and so would serve everybody.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - ansible.builtin.files
options:
  path:
    description: The file; its directory must be there.
    type: path
    required: true
  keys:
    description: The keys, each with a name of its own.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Whose key it is - letters, digits, blanks and C(. @ + - _).
        type: str
        required: true
      key:
        description: ASCII letters, digits and signs, without blanks, and no C(#) at the beginning.
        type: str
        required: true
  rotate:
    description: Whether to replace a generated key by a new one. Changes nothing where O(keys) are given.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: A difference would show keys.
"""

EXAMPLES = r"""
- name: Let two people in
  llamatower.tower.llama_api_keys:
    path: /etc/llama-server/main.keys
    keys:
      - {name: ann, key: "{{ vault_key_of_ann }}"}
      - {name: ben, key: "{{ vault_key_of_ben }}"}
    owner: root
    group: llama
    mode: "0640"
  no_log: true
  register: keys
"""

RETURN = r"""
names:
  description: The names of the keys that are in the file; empty where one was generated.
  returned: success
  type: list
  elements: str
  sample: [ann, ben]
"""

import os
import secrets
import string

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import write_beside
from ..module_utils.service.api_keys import key_file, key_problems

LENGTH = 43  # of letters and digits: 256 bits


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "keys": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "name": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": True},
                },
            },
            "rotate": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        add_file_common_args=True,
    )
    path, keys = module.params["path"], module.params["keys"]
    problems = key_problems(keys)
    if problems:
        module.fail_json(msg="\n".join(problems))
    present = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            present = file.read()
    fresh = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(LENGTH))
    wanted = key_file(keys, present, fresh, module.params["rotate"])
    changed = wanted != present
    if changed and not module.check_mode:
        write_beside(path, wanted, mode=0o600)
    if os.path.exists(path):
        changed = module.set_fs_attributes_if_different(module.load_file_common_arguments(module.params), changed)
    module.exit_json(changed=changed, names=[entry["name"] for entry in keys])


if __name__ == "__main__":
    main()
