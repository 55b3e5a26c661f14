# SPDX-License-Identifier: MIT
"""Ansible module: write the lock file of an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_lock
short_description: Write down which files the declared models are
version_added: 0.1.0
author: llamatower contributors
description:
  - Resolves the models that any tower declares to a commit and to size and SHA-256 of every file, and writes that into a
    YAML file to be reviewed and kept with the inventory. The same models always give the same file.
  - Runs on the controller, whose Python must have huggingface_hub for models of the hub. What only towers can read,
    M(llamatower.tower.model_source_info) has read there before.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.models.hub
options:
  path:
    description: The lock file.
    type: path
    required: true
  towers:
    description: The models that each tower declares, as in C(model_store_models), by the name of the tower.
    type: dict
    required: true
  read:
    description: What M(llamatower.tower.model_source_info) said on each tower of its files and URLs, by the name of the tower.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    details: Resolves, and writes nothing.
  diff_mode:
    support: full
    details: The file before and after.
"""

EXAMPLES = r"""
- name: Lock a model of the hub
  llamatower.tower.model_lock:
    path: /root/inventory/models.lock.yml
    towers:
      tower1:
        - name: glm-4.6
          repo: unsloth/GLM-4.6-GGUF
          revision: main
          files: Q6_K/*.gguf
  delegate_to: localhost

- name: Read a file that lies on a tower
  llamatower.tower.model_source_info:
    models:
      - name: small
        path: /mnt/usb/small-Q6_K.gguf
  register: there

- name: Lock it
  llamatower.tower.model_lock:
    path: models.lock.yml
    towers:
      tower1:
        - name: small
          path: /mnt/usb/small-Q6_K.gguf
    read:
      tower1: "{{ there.models }}"
  delegate_to: localhost
"""

RETURN = r"""
models:
  description: What is locked, with the keys of RV(llamatower.tower.model_source_info#module:models).
  returned: success
  type: list
  elements: dict
moved:
  description: One line for each model that is new, gone, or another than before.
  returned: success
  type: list
  elements: str
  sample: ["glm-4.6: 0123456789012345678901234567890123456789 -> 1234567890123456789012345678901234567890, 7 of 7 files changed"]
"""

from pathlib import Path

import yaml
from ansible.module_utils.basic import AnsibleModule

from ..module_utils.files import write_beside
from ..module_utils.model.declaration import declaration_problems
from ..module_utils.model.lock import LockError, declared, entries, kept, lock_text, moved, read_on_towers
from ..module_utils.model.sources import ModelSourceError, misnamed, resolve


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "towers": {"type": "dict", "required": True},
            "read": {"type": "dict", "default": {}},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    path, towers = Path(module.params["path"]), module.params["towers"]
    problems = [problem for models in towers.values() for problem in declaration_problems(models)]
    if problems:
        module.fail_json(msg="\n".join(dict.fromkeys(problems)))
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        before = entries(yaml.safe_load(text))
    except (LockError, yaml.YAMLError):
        before = []  # it is replaced
    try:
        read = read_on_towers(module.params["read"])
        after = [
            resolve(model, module.params["endpoint"], module.params["token"])
            if model.get("repo")
            else read.get(model["name"]) or kept(model, before)
            for model in declared(towers)
        ]
    except (LockError, ModelSourceError) as error:
        module.fail_json(msg=str(error))
    for problem in (problem for entry in after for problem in misnamed(entry)):
        module.warn(problem)
    new = lock_text(after)
    if new != text and not module.check_mode:
        try:
            write_beside(str(path), new)
        except OSError as error:
            module.fail_json(
                msg=f"{path} cannot be written ({error.strerror}): set model_store_lock_file to a place that can."
            )
    module.exit_json(
        changed=new != text,
        models=after,
        moved=moved(before, after),
        diff={"before_header": str(path), "after_header": str(path), "before": text, "after": new},
    )


if __name__ == "__main__":
    main()
