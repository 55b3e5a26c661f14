# SPDX-License-Identifier: MIT
"""Ansible module: which of the declared models a tower has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_store_info
short_description: Which of the declared models a tower has
version_added: 0.1.0
author: llamatower contributors
description:
  - Compares the declared models with the manifests of the store and the sizes and times of its files. No byte of a
    model is read, and nothing outside the tower is asked.
options:
  path:
    description: The directory of the models; it need not exist yet.
    type: path
    required: true
  models:
    description: The declared models, as in C(model_store_models).
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Reads only.
"""

EXAMPLES = r"""
- name: See which models are there
  model_store_info:
    path: /var/lib/llama-models
    models:
      - name: small
        url: https://huggingface.co/org/small-GGUF/resolve/main/small-Q6_K.gguf
        sha256: 20343b302ced09851f62ba12410a1bdebfc57b66399a451fcd2a51517a00673b
  register: store
"""

RETURN = r"""
models:
  description: One entry a declared model.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: always}
    source: {description: Its source as it is declared., type: dict, returned: always}
    state: {description: "C(present), C(absent) or C(changed).", type: str, returned: always}
    reason: {description: Why it counts as changed; null otherwise., type: str, returned: always}
    manifest: {description: The manifest in the store; null where there is none., type: dict, returned: always}
    intact: {description: SHA-256 of its files that are there unchanged., type: list, elements: str, returned: always}
    partial_bytes: {description: Bytes of an unfinished fetch., type: int, returned: always}
free_bytes:
  description: Free space on the disk of the directory, in bytes.
  returned: always
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.models import (
    declaration_problems,
    intact_files,
    read_manifest,
    source_of,
    state_of,
    tree_bytes,
)
from ansible.module_utils.tower import disk_of


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "models": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    problems = declaration_problems(module.params["models"])
    if problems:
        module.fail_json(msg="\n".join(problems))
    found = []
    for model in module.params["models"]:
        directory = os.path.join(module.params["path"], model["name"])
        manifest = read_manifest(directory)
        state, reason = state_of(model, manifest, directory)
        found.append(
            {
                "name": model["name"],
                "source": source_of(model),
                "state": state,
                "reason": reason,
                "manifest": manifest,
                "intact": [entry["sha256"] for entry in intact_files(manifest, directory)],
                "partial_bytes": tree_bytes(os.path.join(module.params["path"], f".{model['name']}.partial")),
            }
        )
    module.exit_json(changed=False, models=found, free_bytes=disk_of(module.params["path"])["free_bytes"])


if __name__ == "__main__":
    main()
