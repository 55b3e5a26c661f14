# SPDX-License-Identifier: MIT
"""Ansible module: fetch a model into the store of a tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_fetch
short_description: Fetch a model, prove its hashes, and make it visible
version_added: 0.1.0
author: llamatower contributors
description:
  - Downloads (with huggingface_hub, for models of the hub) or copies the files of a model beside the store's models,
    proves the SHA-256 of each, reads their headers, writes C(manifest.json), and only then gives the directory the
    model's name. Files that an earlier declaration of the model had already are taken over.
  - The pages of the model do not stay in the page cache, where they would all lie on the memory node that read them.
  - Runs detached from the connection and shows how far it is.
options:
  model:
    description: The model as M(model_source_info) describes it.
    type: dict
    required: true
  path:
    description: The directory of the models.
    type: path
    required: true
  endpoint:
    description: The hub; null is C(HF_ENDPOINT) of the environment, or https://huggingface.co.
    type: str
  token:
    description: Access token of the hub, for gated repositories.
    type: str
  progress_path:
    description: The file that tells how far the download is.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says that it would fetch.
  diff_mode:
    support: none
    description: The result is a file of many gigabytes.
"""

EXAMPLES = r"""
- name: Fetch a model
  model_fetch:
    model: "{{ sources.models | first }}"
    path: /var/lib/llama-models
    progress_path: /var/lib/llama-models/.progress.json
"""

RETURN = r"""
manifest:
  description: What is in the store now; null in check mode.
  returned: success
  type: dict
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gguf import GgufError
from ansible.module_utils.model_install import FetchError, install
from ansible.module_utils.progress import Progress


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "progress_path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    model, store = module.params["model"], Path(module.params["path"])
    if module.check_mode:
        module.exit_json(changed=True, manifest=None)
    try:
        with Progress(module.params["progress_path"]) as progress:
            manifest, changed = install(model, store, module.params["endpoint"], module.params["token"], progress)
    except FetchError as error:
        module.fail_json(msg=str(error))
    except GgufError as error:
        module.fail_json(msg=f"Model {model['name']} was not installed: {error}")
    module.exit_json(changed=changed, manifest=manifest)


if __name__ == "__main__":
    main()
