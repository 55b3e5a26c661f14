# SPDX-License-Identifier: MIT
"""Ansible module: share a model with other towers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_share
short_description: Give a model to other towers, or get it from them
version_added: 0.1.0
author: llamatower contributors
description:
  - Runs a BitTorrent engine, without tracker or search for peers, or rsync, until every one of the towers has the model.
  - Ends where a tower gets no further for a while, so that the others do not wait for one that died; what came stays for
    the next run.
  - What was received is for M(llamatower.tower.model_fetch) to prove and to publish.
requirements:
  - python3-libtorrent or rsync
extends_documentation_fragment:
  - llamatower.tower.attributes
  - llamatower.tower.long
  - llamatower.tower.models.resolved
options:
  torrent:
    description: What M(llamatower.tower.model_torrent) returned on the tower that has the model; without it, rsync is used.
    type: str
  address:
    description: The address of this tower in the LAN; nothing else is listened at.
    type: str
    required: true
  peers:
    description: The addresses of the other towers by their names; nobody else is answered.
    type: dict
    required: true
  givers:
    description: The names of all towers that have the model.
    type: list
    elements: str
    default: []
  receive:
    description: Whether this tower lacks it.
    type: bool
    required: true
  port:
    description: The TCP port of all of them.
    type: int
    required: true
  patience:
    description: Seconds without progress after which the rest is given up.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    details: Shares nothing.
  diff_mode:
    support: none
    details: The result is a file of many gigabytes.
"""

EXAMPLES = r"""
- name: Share a model
  llamatower.tower.model_share:
    model: "{{ model_store_plan | first }}"
    path: /var/lib/llama-models
    torrent: "{{ described.torrent }}"
    address: 192.0.2.11
    peers: {tower2: 192.0.2.12, tower3: 192.0.2.13}
    givers: [tower2]
    receive: true
    port: 6881
    progress_path: /var/lib/llama-models/.progress.json
"""

RETURN = r"""
transfer:
  description: What came and went; null in check mode.
  returned: success
  type: dict
  contains:
    received_bytes: {description: Bytes of the model that came., type: int, returned: success}
    uploaded_bytes: {description: Bytes of the model that went out., type: int, returned: success}
    unfinished: {description: Towers that did not get all of it., type: list, elements: str, returned: success}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.model import share_rsync as model_rsync
from ..module_utils.model import share_swarm as model_swarm
from ..module_utils.model.share import Share, ShareError
from ..module_utils.progress import Progress, disk_failure


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "model": {"type": "dict", "required": True},
            "path": {"type": "path", "required": True},
            "torrent": {"type": "str"},
            "address": {"type": "str", "required": True},
            "peers": {"type": "dict", "required": True},
            "givers": {"type": "list", "elements": "str", "default": []},
            "receive": {"type": "bool", "required": True},
            "port": {"type": "int", "required": True},
            "patience": {"type": "int", "default": 120},
            "progress_path": {"type": "path", "required": True},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, transfer=None)
    options = module.params
    given = Share(
        options["model"],
        Path(options["path"]),
        options["address"],
        options["peers"],
        options["givers"],
        options["receive"],
        options["port"],
        options["patience"],
    )
    try:
        with Progress(
            options["progress_path"], f"the sharing of {options['model']['name']}", options["by"]
        ) as progress:
            if options["torrent"]:
                shared = model_swarm.share(given, options["torrent"], progress)
            else:
                shared = model_rsync.share(given, progress)
    except ShareError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=disk_failure(options["path"], error))
    if shared.unfinished:
        module.warn(f"{', '.join(shared.unfinished)} did not get {given.model['name']}: run the same command again.")
    module.exit_json(changed=shared.received_bytes > 0, transfer=shared._asdict())


if __name__ == "__main__":
    main()
