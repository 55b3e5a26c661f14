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
  lock:
    description: The lock file as M(model_lock) writes it; empty where there is none.
    type: raw
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
    locked: {description: Its entry in the lock file; null where there is none., type: dict, returned: always}
    verified: {description: "When all its files were last hashed, in seconds since 1970, or null.", type: int, returned: always}
    reason: {description: Why it counts as changed; null otherwise., type: str, returned: always}
    manifest: {description: The manifest in the store; null where there is none., type: dict, returned: always}
    intact: {description: SHA-256 of its files that are there unchanged., type: list, elements: str, returned: always}
    partial_bytes: {description: Bytes of an unfinished fetch., type: int, returned: always}
timer:
  description: Whether the timer that verifies the models every month is C(present).
  returned: always
  type: dict
free_bytes:
  description: Free space on the disk of the directory, in bytes.
  returned: always
  type: int
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.declaration import declaration_problems
from ..module_utils.model.lock import LockError, entries, locked
from ..module_utils.model.store import find
from ..module_utils.tower import disk_of

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
        found = [find(store, model, locked(model, lock)) for model in models]
    except LockError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        models=found,
        timer={"present": os.path.exists(TIMER)},
        free_bytes=disk_of(store)["free_bytes"],
    )


if __name__ == "__main__":
    main()
