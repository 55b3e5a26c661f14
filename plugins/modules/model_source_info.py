# SPDX-License-Identifier: MIT
"""Ansible module: what the sources of models say about them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_source_info
short_description: What the sources of models say about them
version_added: 0.1.0
author: llamatower contributors
description:
  - Resolves declared models to an exact commit and to the size and SHA-256 of every file, and reads their GGUF headers;
    a few megabytes are transferred.
  - Models of the hub are asked for through huggingface_hub, which the Python that runs the module must have; files and
    URLs need nothing. Files without a declared C(sha256) are read and hashed, past the page cache.
  - Warns where a model has fewer bits a weight than its name says, and where a locked branch or tag has moved.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.attributes.info
  - llamatower.tower.models
  - llamatower.tower.models.hub
options:
  locked:
    description:
      - Entries of the lock file, of models of the hub, whose revisions are compared with what the hub says now.
        A hub that cannot be reached is passed over.
    type: list
    elements: dict
    default: []
  headers_only:
    description: Whether sizes and headers are all that is wanted. Files are then not hashed, and their C(sha256) is null.
    type: bool
    default: false
  progress_path:
    description:
      - The file that tells how far the hashing is. With it, the module runs detached from the connection, and shows that.
    type: path
  by:
    description: Who wants it, for those who wait; the action of this module says it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Resolve a model of the hub to its commit and its files
  llamatower.tower.model_source_info:
    models:
      - name: glm-4.6
        repo: unsloth/GLM-4.6-GGUF
        revision: main
        files: Q6_K/*.gguf
  delegate_to: localhost

- name: Read a model on a disk
  llamatower.tower.model_source_info:
    models:
      - name: small
        path: /mnt/usb/small-Q6_K.gguf
  register: sources

- name: Say how large it is
  ansible.builtin.debug:
    msg: "{{ sources.models | map(attribute='bytes') | sum }}"
"""

RETURN = r"""
models:
  description: One entry a declared model.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Its name., type: str, returned: success}
    source:
      description: Its source as it is declared, without its name.
      type: dict
      returned: success
      sample: {repo: unsloth/GLM-4.6-GGUF, revision: main, files: Q6_K/*.gguf}
    commit: {description: The commit of the repository; null for files and URLs., type: str, returned: success}
    files:
      description: Its files, in the order of the shards.
      type: list
      elements: dict
      returned: success
      contains:
        file: {description: "Its path in the repository, its path on the host, or its URL.", type: str, returned: success}
        size: {description: Its size in bytes., type: int, returned: success}
        sha256: {description: Its SHA-256; null where it was not hashed., type: str, returned: success}
    bytes: {description: Sum of their sizes., type: int, returned: success}
    gguf:
      description: What the headers say, with the keys of RV(llamatower.tower.gguf_info#module:gguf) without C(source), C(metadata) and C(tensors).
      type: dict
      returned: success
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.declaration import declaration_problems
from ..module_utils.model.sources import ModelSourceError, misnamed, moved_revision, resolve, unserved
from ..module_utils.model.uncached import sha256_files
from ..module_utils.progress import Progress


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "models": {"type": "list", "elements": "dict", "required": True},
            "locked": {"type": "list", "elements": "dict", "default": []},
            "headers_only": {"type": "bool", "default": False},
            "progress_path": {"type": "path"},
            "by": {"type": "str", "default": ""},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    problems = declaration_problems(module.params["models"])
    if problems:
        module.fail_json(msg="\n".join(problems))
    hub = module.params["endpoint"], module.params["token"]
    with contextlib.ExitStack() as stack:
        progress = None
        if module.params["progress_path"] and not module.check_mode:
            progress = stack.enter_context(
                Progress(module.params["progress_path"], "the hashing of new models", module.params["by"])
            )

        def digest(paths: list[str]) -> dict[str, Any]:
            if module.params["headers_only"]:
                return dict.fromkeys(paths)
            total = sum(map(os.path.getsize, paths))

            def tell(done: int) -> None:
                if progress:
                    progress.tell(f"hashing {os.path.basename(paths[0])}:", done, total, "bytes")

            return sha256_files(paths, len(os.sched_getaffinity(0)), tell)

        try:
            found = [resolve(model, *hub, digest) for model in module.params["models"]]
        except ModelSourceError as error:
            module.fail_json(msg=str(error))
    warnings = [problem for entry in found for problem in (*misnamed(entry), *unserved(entry))]
    warnings += [moved for entry in module.params["locked"] if (moved := moved_revision(entry, *hub))]
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, models=found)


if __name__ == "__main__":
    main()
