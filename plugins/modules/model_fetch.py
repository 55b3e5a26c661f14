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
  - Needs nothing but Python on the tower.
  - The pages of the model do not stay in the page cache, where they would all lie on the memory node that read them.
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
  - llamatower.tower.models.resolved
  - llamatower.tower.models.hub
options:
  url:
    description: The URL as it is declared. What O(model) has of it is without user, password and query.
    type: str
attributes:
  check_mode:
    support: full
    details: Says that it would fetch.
  diff_mode:
    support: none
    details: The result is a file of many gigabytes.
"""

EXAMPLES = r"""
- name: Ask what the file is
  llamatower.tower.model_source_info:
    models:
      - name: small
        path: /mnt/usb/small-Q6_K.gguf
  register: sources

- name: Fetch it into the store
  llamatower.tower.model_fetch:
    model: "{{ sources.models | first }}"
    path: /var/lib/llama-models
    progress_path: /var/lib/llama-models/.progress.json
"""

RETURN = r"""
manifest:
  description: What is in the store now, with the keys of RV(llamatower.tower.model_store_info#module:models[].manifest); null in check mode.
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
      description: Files that came with another hash.
      type: list
      elements: dict
      returned: success
      contains:
        file: {description: Its name in the store., type: str, returned: success}
        sha256: {description: The SHA-256 it came with., type: str, returned: success}
        expected: {description: The SHA-256 it should have., type: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.fetch import FetchError, install_model
from ..module_utils.model.gguf import GgufError
from ..module_utils.progress import Progress, disk_failure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "endpoint": {"type": "str"},
            "token": {"type": "str", "no_log": True},
            "url": {"type": "str", "no_log": True},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    model, store = module.params["model"], Path(module.params["path"])
    if module.params["url"]:
        model = {**model, "files": [{**entry, "file": module.params["url"]} for entry in model["files"]]}
    if module.check_mode:
        module.exit_json(changed=True, manifest=None, transfer=None)
    try:
        with Progress(module.params["progress_path"], f"the fetch of {model['name']}", module.params["by"]) as progress:
            done = install_model(model, store, module.params["endpoint"], module.params["token"], progress)
    except FetchError as error:
        module.fail_json(msg=str(error))
    except GgufError as error:
        module.fail_json(msg=f"Model {model['name']} was not installed: {error}")
    except OSError as error:
        module.fail_json(msg=disk_failure(str(store), error))
    for wrong in done.transfer["quarantined"]:
        module.warn("{file} came with the SHA-256 {sha256} and not {expected}: it was fetched again.".format(**wrong))
    module.exit_json(**done._asdict())


if __name__ == "__main__":
    main()
