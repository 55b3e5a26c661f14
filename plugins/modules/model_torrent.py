# SPDX-License-Identifier: MIT
"""Ansible module: describe a model of the store for other towers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_torrent
short_description: Describe a model of the store, so that other towers can get it from this one
version_added: 0.1.0
author: llamatower contributors
description:
  - Reads a model that the store has, past the page cache, and returns its BitTorrent metadata, which is the same for
    the same files.
requirements:
  - python3-libtorrent
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
  - llamatower.tower.models.resolved
options: {}
attributes:
  check_mode:
    support: full
    details: Reads nothing.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Describe a model
  llamatower.tower.model_torrent:
    model: "{{ model_store_plan | first }}"
    path: /var/lib/llama-models
    progress_path: /var/lib/llama-models/.progress.json
  register: described
"""

RETURN = r"""
torrent:
  description: The metadata in base64; null in check mode.
  returned: success
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model.share_swarm import torrent_of
from ..module_utils.progress import Progress


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, torrent=None)
    try:
        with Progress(
            module.params["progress_path"], f"the hashing of {module.params['model']['name']}", module.params["by"]
        ) as progress:
            torrent = torrent_of(module.params["model"], Path(module.params["path"]), progress)
    except OSError as error:
        module.fail_json(msg=f"Model {module.params['model']['name']} cannot be read on its seed: {error}")
    module.exit_json(changed=False, torrent=torrent)


if __name__ == "__main__":
    main()
