# SPDX-License-Identifier: MIT
"""Ansible module: hash the models of a store again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_verify
short_description: Hash the models of a store again
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads every file of every model, several at once and past the page cache, and compares its SHA-256 with the manifest.
  - Fails where one is wrong, missing or unreadable. It stays where it is, and counts as changed from then on, so that
    the next run of C(llamatower.tower.models) fetches it again.
  - What is right and has another time than the manifest says, as in a store that was copied to another disk, gets that
    time there, and no longer counts as changed.
  - Reports changed where another file is known to be wrong, or to be right, than before.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
options:
  path:
    description: The directory of the models.
    type: path
    required: true
  workers:
    description: Files that are hashed at once; by default as many as the host has CPUs.
    type: int
attributes:
  check_mode:
    support: full
    details: Reads and compares, and writes nothing down.
  diff_mode:
    support: none
    details: Nothing but the time of the verification is written where all is well.
"""

EXAMPLES = r"""
- name: Hash all models again
  llamatower.tower.model_verify:
    path: /var/lib/llama-models
    progress_path: /var/lib/llama-models/.verify.json
"""

RETURN = r"""
models:
  description: One entry a model.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: always}
    time: {description: "When it was verified, in seconds since 1970.", type: int, returned: always}
    files:
      description: Its files, in the order of the shards.
      type: list
      elements: dict
      returned: always
      contains:
        file: {description: Its name in the directory of the model., type: str, returned: always}
        state: {description: "C(ok), C(wrong), C(missing) or C(unreadable).", type: str, returned: always}
        sha256: {description: Its SHA-256 by the manifest., type: str, returned: always}
        found: {description: The SHA-256 that it has; null where it cannot be read., type: str, returned: always}
        mtime_ns: {description: Its time before it was read; null where it is missing., type: int, returned: always}
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.verify import manifests, paths_of, problems, record, verify
from ..module_utils.progress import Progress, disk_failure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "workers": {"type": "int"},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    store = module.params["path"]
    models = manifests(store)
    if not models:
        module.exit_json(changed=False, models=[])
    workers = max(1, module.params["workers"] or len(os.sched_getaffinity(0)))
    total = sum(os.path.getsize(path) for path in paths_of(store, models))
    if module.check_mode:
        results, changed = verify(store, models, workers, lambda _done: None), False
    else:
        try:
            with Progress(module.params["progress_path"], "the hashing of all models", module.params["by"]) as progress:
                results = verify(store, models, workers, lambda done: progress.tell("verifying:", done, total, "bytes"))
                changed = record(store, models, results)
        except OSError as error:
            module.fail_json(msg=disk_failure(store, error))
    wrong = problems(results)
    if wrong:
        module.fail_json(msg="\n".join(wrong), changed=changed, models=results)
    module.exit_json(changed=changed, models=results)


if __name__ == "__main__":
    main()
