# SPDX-License-Identifier: MIT
"""Ansible module: fetch a model into the store of a tower."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_fetch
short_description: Fetch a model, prove its hashes, and make it visible
version_added: 0.1.0
author: llamatower contributors
description:
  - Downloads or copies the files of a model beside the store's models, several at once, and proves the SHA-256 of each.
    When all are proven, reads their headers, writes C(manifest.json), and only then gives the directory the model's
    name. Files that an earlier declaration of the model had already are taken over.
  - An interrupted fetch goes on at the byte; a file whose hash was proven is not read again. A file with another hash
    goes to quarantine, is named in a warning, and is fetched once more.
  - The token is sent to the hub only, and not to where it redirects. Needs nothing but Python on the tower.
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
transfer:
  description: What the transfer came to; null in check mode.
  returned: success
  type: dict
  contains:
    received_bytes: {description: Bytes that this run wrote., type: int, returned: success}
    resumed_bytes: {description: Bytes that an earlier run had left., type: int, returned: success}
    retries: {description: Attempts after the first of each file., type: int, returned: success}
    quarantined:
      description: Files that came with another hash - file, sha256, and the expected one.
      type: list
      elements: dict
      returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.fetch import FetchError, install
from ..module_utils.model.gguf import GgufError
from ..module_utils.progress import Progress, disk_problem


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
        module.exit_json(changed=True, manifest=None, transfer=None)
    try:
        with Progress(module.params["progress_path"]) as progress:
            done = install(model, store, module.params["endpoint"], module.params["token"], progress)
    except FetchError as error:
        module.fail_json(msg=str(error))
    except GgufError as error:
        module.fail_json(msg=f"Model {model['name']} was not installed: {error}")
    except OSError as error:
        module.fail_json(msg=disk_problem(str(store), error))
    for wrong in done.transfer["quarantined"]:
        module.warn("{file} came with the SHA-256 {sha256} and not {expected}: it was fetched again.".format(**wrong))
    module.exit_json(**done._asdict())


if __name__ == "__main__":
    main()
