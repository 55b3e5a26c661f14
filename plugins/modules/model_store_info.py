# SPDX-License-Identifier: MIT
"""Ansible module: which of the declared models a tower has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_store_info
short_description: Which of the declared models a tower has
version_added: 0.1.0
author: llamatower contributors
description:
  - Compares the declared models, and what is locked of them, with the manifests of the store and the sizes and times of
    its files. No byte of a model is read, and nothing outside the tower is asked.
  - Fails where a model is declared otherwise than it was locked.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
  - llamatower.tower.models
options:
  path:
    description: The directory of the models; it need not exist yet.
    type: path
    required: true
  lock:
    description: The lock file as M(llamatower.tower.model_lock) writes it; empty where there is none.
    type: raw
"""

EXAMPLES = r"""
- name: See which models are there
  llamatower.tower.model_store_info:
    path: /var/lib/llama-models
    models:
      - name: small
        url: https://huggingface.co/org/small-GGUF/resolve/main/small-Q6_K.gguf
        sha256: 20343b302ced09851f62ba12410a1bdebfc57b66399a451fcd2a51517a00673b
  register: store

- name: Say what is missing
  ansible.builtin.debug:
    msg: "{{ store.models | rejectattr('state', 'eq', 'present') | map(attribute='name') }}"
"""

RETURN = r"""
models:
  description: One entry a declared model.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: success}
    source: {description: "Its source as it is declared, without its name.", type: dict, returned: success, sample: {path: /mnt/usb/small-Q6_K.gguf}}
    state: {description: "C(present), C(absent) or C(changed).", type: str, returned: success}
    reason: {description: Why it counts as changed; null otherwise., type: str, returned: success}
    locked:
      description: Its entry in the lock file, with the keys of RV(llamatower.tower.model_source_info#module:models); null where there is none.
      type: dict
      returned: success
    verified: {description: "When all its files were last hashed, in seconds since 1970, or null.", type: int, returned: success}
    manifest:
      description: The manifest in the store; null where there is none.
      type: dict
      returned: success
      contains:
        schema_version: {description: Of this document., type: int, returned: success}
        name: {description: Its name., type: str, returned: success}
        source: {description: The source it came from., type: dict, returned: success, sample: {path: /mnt/usb/small-Q6_K.gguf}}
        commit: {description: The commit of the repository; null for files and URLs., type: str, returned: success}
        files:
          description: Its files, in the order of the shards.
          type: list
          elements: dict
          returned: success
          contains:
            file: {description: Its name in the directory of the model., type: str, returned: success}
            size: {description: Its size in bytes., type: int, returned: success}
            mtime_ns: {description: Its time when it was proven., type: int, returned: success}
            sha256: {description: Its SHA-256., type: str, returned: success}
        bytes: {description: Sum of their sizes., type: int, returned: success}
        gguf:
          description: What the headers say, with the keys of RV(llamatower.tower.gguf_info#module:gguf) without C(source), C(metadata) and C(tensors).
          type: dict
          returned: success
    intact: {description: SHA-256 of its files that are there unchanged., type: list, elements: str, returned: success}
    partial_bytes: {description: Bytes of an unfinished fetch., type: int, returned: success}
stored:
  description: The names of all models that are there, declared or not.
  returned: success
  type: list
  elements: str
  sample: [glm-4.6]
timer:
  description: The timer that verifies the models every month.
  returned: success
  type: dict
  contains:
    present: {description: Whether it is installed., type: bool, returned: success}
free_bytes:
  description: Free space on the disk of the directory, in bytes.
  returned: success
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.disks import disk_of
from ..module_utils.model.declaration import declaration_problems
from ..module_utils.model.lock import LockError, entries, locked_entry
from ..module_utils.model.store import find, store_warning
from ..module_utils.model.verify import manifests

TIMER = "/etc/systemd/system/llama-models-verify.timer"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "models": {"type": "list", "elements": "dict", "required": True},
            "lock": {"type": "raw"},
        },
        supports_check_mode=True,
    )
    problems = declaration_problems(module.params["models"])
    if problems:
        module.fail_json(msg="\n".join(problems))
    store, models = module.params["path"], module.params["models"]
    try:
        lock = entries(module.params["lock"])
        found = [find(store, model, locked_entry(model, lock)) for model in models]
    except LockError as error:
        module.fail_json(msg=str(error))
    disk = disk_of(store)
    warning = store_warning(store, disk["filesystem"])
    if warning:
        module.warn(warning)
    module.exit_json(
        changed=False,
        models=found,
        stored=list(manifests(store)),
        timer={"present": os.path.exists(TIMER)},
        free_bytes=disk["free_bytes"],
    )


if __name__ == "__main__":
    main()
